"""Each reader of moments, on a tiny set in the real format."""

import json
import re

import pytest

from evaluation.datasets.dataset import MediaFolder, Medium, MomentQuery
from evaluation.datasets.moments import read_charades_sta, read_didemo, read_moments, read_own_moments
from evaluation.errors import DatasetError
from tests.fakes import write_film


def refuses(message):
    return pytest.raises(DatasetError, match=re.escape(message))


def written(path, text):
    path.write_bytes(text.encode())
    return path


def outline(found):
    return found.title, [medium.name for medium in found.media], found.queries, found.segment_seconds, found.missing


@pytest.fixture
def films(tmp_path):
    for name in ("3MSZA.mp4", "AMT7R.mp4", "holidays/Füße.mkv"):
        write_film(tmp_path / "films" / name, [("red", 0.3)])
    return MediaFolder(tmp_path / "films")


# --- Charades-STA -------------------------------------------------------------------------------------------------------

CHARADES = """3MSZA 24.3 30.4##person turn a light on.
AMT7R 4.3 12.5##a person is putting a picture onto the wall.
3MSZA 5.0 5.0##person sits.
3MSZA 9.5 2##person stands up.
3MSZA 0.0 3##person turn a light on.
"""


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_charades_gives_a_query_a_line_and_reports_empty_spans(tmp_path, films, line_end):
    file = written(tmp_path / "charades_sta_test.txt", CHARADES.replace("\n", line_end))
    light, wall = "person turn a light on.", "a person is putting a picture onto the wall."
    queries = (MomentQuery(0, light, ((24.3, 30.4),)), MomentQuery(1, wall, ((4.3, 12.5),)), MomentQuery(0, light, ((0.0, 3.0),)))
    left_out = (f"{file}: line 3: no moment from 5 s to 5 s", f"{file}: line 4: no moment from 9.5 s to 2 s")
    found = read_charades_sta(file, films)
    assert outline(found) == ("charades_sta_test", ["3MSZA", "AMT7R"], queries, None, left_out)
    assert found.media[0] == Medium("3MSZA", films.folder / "3MSZA.mp4", "video", f"{file}: line 1")
    assert read_moments(file, films.folder) == found


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("3MSZA 24.3 30.4 person", "malformed ('3MSZA 24.3 30.4 person'). Expected <video> <start> <stop>##<sentence>."),
        ("3MSZA 24.3##person", "malformed ("),
        ("3MSZA 1 2## ", "malformed ("),
        ("3MSZA a 30.4##person", "not a time ('a')."),
        ("3MSZA 1 nan##person", "not a time ('nan')."),
        ("3MSZA 1 inf##person", "not a time ('inf')."),
        ("3MSZA -1 2##person", "not a time ('-1')."),
        ("NONE5 1 2##person", "the video 'NONE5' is not in {folder}."),
    ],
)
def test_a_wrong_line_of_charades_is_named(tmp_path, films, line, message):
    file = written(tmp_path / "charades.txt", f"\n3MSZA 1 2##x\n{line}\n")
    with refuses(f"{file}: line 3: " + message.format(folder=films.folder)):
        read_charades_sta(file, films)


def test_every_query_of_a_missing_video_is_reported_when_allowed(tmp_path, films):
    file = written(tmp_path / "c.txt", "GONE1 1 2##x\nAMT7R 1 2##y\nGONE1 2 3##z\n")
    found = read_moments(file, films.folder, allow_missing=True)
    left_out = (f"{file}: line 1: 'GONE1' is missing.", f"{file}: line 3: 'GONE1' is missing.")
    assert outline(found) == ("c", ["AMT7R"], (MomentQuery(0, "y", ((1.0, 2.0),)),), None, left_out)


# --- DiDeMo -------------------------------------------------------------------------------------------------------------


def didemo_record(number, video, times, text="camera pans right"):
    return {
        "annotation_id": number,
        "description": text,
        "dl_link": "",
        "num_segments": 6,
        "reference_description": text,
        "times": times,
        "video": video,
    }


@pytest.fixture
def didemo(tmp_path):
    folder = tmp_path / "didemo"
    folder.mkdir()
    (folder / "12090392@N02_13482799053_87ef417396.mp4").touch()  # the annotations name a .mov
    (folder / "x@N1_2_3.avi").touch()
    records = [
        didemo_record(19, "12090392@N02_13482799053_87ef417396.mov", [[3, 3], [3, 3], [3, 4], [0, 5]]),
        didemo_record(7, "x@N1_2_3.avi", [[0, 0]], "a dög"),
        didemo_record(8, "12090392@N02_13482799053_87ef417396.mov", [[1, 1]]),
    ]
    return written(folder / "test_data.json", json.dumps(records))


def test_didemo_gives_chunks_of_five_seconds_and_finds_videos_with_another_suffix(didemo):
    found = read_didemo(didemo, MediaFolder(didemo.parent))
    names = ["12090392@N02_13482799053_87ef417396.mov", "x@N1_2_3.avi"]
    queries = (
        MomentQuery(0, "camera pans right", ((15.0, 20.0), (15.0, 20.0), (15.0, 25.0), (0.0, 30.0))),
        MomentQuery(1, "a dög", ((0.0, 5.0),)),
        MomentQuery(0, "camera pans right", ((5.0, 10.0),)),
    )
    assert outline(found) == ("DiDeMo test_data", names, queries, 5.0, ())
    assert found.media[0].path == didemo.parent / "12090392@N02_13482799053_87ef417396.mp4"
    assert read_moments(didemo, None) == found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d[2].update(annotation_id=19), "[2]: the annotation_id 19 appears twice (first in {file}: [0])."),
        (
            lambda d: d[1].update(times=[[-1, 0]]),
            "[1]: 'times' holds [-1, 0]. Expected pairs of whole numbers",
        ),
        (lambda d: d[1].update(times=[[0, 0], [3, 2]]), "[1]: 'times' holds [3, 2]."),
        (lambda d: d[1].update(times=[[0, 1.5]]), "[1]: 'times' holds [0, 1.5]. Expected pairs of whole numbers"),
        (lambda d: d[1].update(times=[[0, True]]), "[1]: 'times' holds [0, True]."),
        (lambda d: d[1].update(times=[[0, 10**400]]), "[1]: 'times' holds [0, 1000000"),
        (lambda d: d[1].update(times=[[0, 1000]]), "[1]: 'times' holds [0, 1000]."),
        (lambda d: d[1].update(times=[0, 1]), "[1]: 'times' holds 0."),
        (lambda d: d[1].update(times=[]), "[1]: 'times' is empty."),
        (lambda d: d[1].update(times={}), "[1]: 'times' is {{}}. Expected a list."),
        (lambda d: d[1].update(description=" "), "[1]: the 'description' is empty."),
        (lambda d: d[1].update(description="\ud83d"), "[1]: the text is not valid Unicode"),
        (lambda d: d[1].update(video="y.avi"), "[1]: the video 'y.avi' is not in {folder}."),
        (lambda d: d.insert(1, "x"), "[1]: not an object ('x')."),
    ],
)
def test_a_wrong_record_of_didemo_is_named(didemo, change, message):
    document = json.loads(didemo.read_text())
    change(document)
    didemo.write_text(json.dumps(document))
    with refuses(f"{didemo}: " + message.format(file=didemo, folder=didemo.parent)):
        read_didemo(didemo, MediaFolder(didemo.parent))


def test_missing_videos_of_didemo_are_reported_when_allowed(didemo):
    video = "12090392@N02_13482799053_87ef417396"
    (didemo.parent / f"{video}.mp4").unlink()
    found = read_moments(didemo, None, allow_missing=True)
    left_out = (f"{didemo}: [0]: '{video}.mov' is missing.", f"{didemo}: [2]: '{video}.mov' is missing.")
    assert outline(found) == ("DiDeMo test_data", ["x@N1_2_3.avi"], (MomentQuery(0, "a dög", ((0.0, 5.0),)),), 5.0, left_out)


# --- own moments --------------------------------------------------------------------------------------------------------


def test_own_moments_collect_all_spans_of_a_query(tmp_path, films):
    lines = [
        "path,query,start,stop",
        '3MSZA.mp4,"a, b",1,2.5',
        "holidays/Füße.mkv,feet,0,1",
        './3MSZA.mp4,"a, b",7,8',
        "3MSZA.mp4,feet,1,2",
    ]
    file = written(tmp_path / "mine.csv", "\ufeff" + "\r\n".join(lines))
    found = read_own_moments(file, films)
    queries = (
        MomentQuery(0, "a, b", ((1.0, 2.5), (7.0, 8.0))),
        MomentQuery(1, "feet", ((0.0, 1.0),)),
        MomentQuery(0, "feet", ((1.0, 2.0),)),
    )
    assert outline(found) == ("films, mine.csv", ["3MSZA.mp4", "holidays/Füße.mkv"], queries, None, ())
    assert read_moments(file, films.folder) == found


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("3MSZA.mp4,x,1,2", "the moment ('3MSZA.mp4', 'x', 1.0, 2.0) appears twice (first in {file}: line 2)."),
        ("3MSZA.mp4,x,2,2", "stops at 2 s, but starts at 2 s."),
        ("3MSZA.mp4,x,2,", "not a time ('')."),
        ("3MSZA.mp4,x,0:02,0:03", "not a time ('0:02')."),
        (",x,1,2", "the path is empty."),
        ("3MSZA.mp4,,1,2", "the query is empty."),
        ("3MSZA.jpg,x,1,2", "not a video ('3MSZA.jpg'). docs/formats.md"),
        ("3MSZA.avi,x,1,2", "the video '3MSZA.avi' is not in {folder}."),
        ("Füße.mkv,x,1,2", "the video 'Füße.mkv' is not in {folder}."),
    ],
)
def test_a_wrong_line_of_own_moments_is_named(tmp_path, films, line, message):
    file = written(tmp_path / "mine.csv", f"path,query,start,stop\n3MSZA.mp4,x,1,2\n{line}\n")
    with refuses(f"{file}: line 3: " + message.format(file=file, folder=films.folder)):
        read_own_moments(file, films)


def test_own_moments_of_a_missing_video_are_reported_when_allowed(tmp_path, films):
    file = written(tmp_path / "mine.csv", "path,query,start,stop\ngone.mp4,x,1,2\n3MSZA.mp4,x,1,2\n")
    found = read_moments(file, films.folder, allow_missing=True)
    left_out = (f"{file}: line 2: 'gone.mp4' is missing.",)
    assert outline(found) == ("films, mine.csv", ["3MSZA.mp4"], (MomentQuery(0, "x", ((1.0, 2.0),)),), None, left_out)


# --- all formats --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.xml", "", "a.xml: moments of an unknown kind (suffix '.xml'). Known: Charades-STA's .txt"),
        ("a.json", "{}", "a.json: not DiDeMo's list of descriptions (found: dict). Known: Charades-STA's .txt"),
        ("a.json", "[{]", "a.json: malformed JSON at line 1, column 3"),
        ("a.json", "[]", "DiDeMo a: holds no moments (0 records were left out)."),
        ("a.csv", "path,query\n", "a.csv: line 1: no column start, stop (found: path, query)."),
        ("a.csv", "path,query,start,stop\n", "a.csv: holds no moments"),
        ("a.txt", "", "a: holds no moments"),
        ("a.txt", "3MSZA 2 1##x", "a: holds no moments (1 records were left out)."),
    ],
)
def test_a_file_of_an_unknown_kind_or_without_moments_is_refused(tmp_path, name, text, message):
    with refuses(message):
        read_moments(written(tmp_path / name, text), None)


def test_missing_paths_are_named(tmp_path):
    with refuses(f"{tmp_path}/none.txt: no such file."):
        read_moments(tmp_path / "none.txt", None)
    with refuses(f"{tmp_path}/none: no such folder."):
        read_moments(written(tmp_path / "a.txt", CHARADES), tmp_path / "none")
