"""Each reader of captioned videos, on a tiny set in the real format. No video is opened."""

import json
import pickle
import re

import pytest

from evaluation.datasets.captions import read_captions, read_msrvtt_1ka, read_msvd
from evaluation.datasets.dataset import MediaFolder, Medium
from evaluation.errors import DatasetError


def refuses(message):
    return pytest.raises(DatasetError, match=re.escape(message))


def outline(found):
    return found.title, [medium.name for medium in found.media], found.texts, found.owners, found.missing


def touch(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return MediaFolder(folder)


# --- MSR-VTT ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def msrvtt(tmp_path):
    touch(tmp_path, "video0.mp4", "video7010.mp4", "video7011.webm")
    splits = {"video0": "train", "video7010": "test", "video7011": "test"}
    videos = [
        {"category": 9, "url": "", "video_id": name, "start time": 0.5, "end time": 9, "split": split, "id": number}
        for number, (name, split) in enumerate(splits.items())
    ]
    captions = [("video7011", "a cat"), ("video0", "a train"), ("video7010", "a man, singing"), ("video7011", "ein Kätzchen")]
    sentences = [{"caption": text, "video_id": name, "sen_id": number} for number, (name, text) in enumerate(captions)]
    file = tmp_path / "MSRVTT_data.json"
    file.write_text(json.dumps({"info": {}, "videos": videos, "sentences": sentences}))
    return file


def test_msrvtt_gives_the_videos_of_a_split_with_all_their_sentences(msrvtt):
    found = read_captions(msrvtt, msrvtt.parent)
    texts = ("a cat", "a man, singing", "ein Kätzchen")
    assert outline(found) == ("MSR-VTT test", ["video7010", "video7011"], texts, ((1,), (0,), (1,)), ())
    assert found.media[1] == Medium("video7011", msrvtt.parent / "video7011.webm", "video", f"{msrvtt}: videos[2]")
    assert read_captions(msrvtt, None) == found


def test_a_missing_video_is_an_error_or_reported_when_allowed(msrvtt):
    (msrvtt.parent / "video7011.webm").unlink()
    with refuses(f"{msrvtt}: videos[2]: the video 'video7011' is not in {msrvtt.parent}."):
        read_captions(msrvtt, None)
    found = read_captions(msrvtt, msrvtt.parent, allow_missing=True)
    assert outline(found) == (
        "MSR-VTT test",
        ["video7010"],
        ("a man, singing",),
        ((0,),),
        (f"{msrvtt}: videos[2]: 'video7011' is missing.",),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: d["videos"][2].update(video_id="video0"),
            "videos[2]: the video_id 'video0' appears twice (first in {file}: videos[0]).",
        ),
        (lambda d: d["videos"][1].update(video_id=7010), "videos[1]: 'video_id' is 7010. Expected text."),
        (lambda d: d["videos"][1].pop("split"), "videos[1]: 'split' is missing"),
        (lambda d: d["sentences"][0].update(video_id="video9"), "sentences[0]: no such video ('video_id' is 'video9')."),
        (lambda d: d["sentences"][0].update(caption=["a"]), "sentences[0]: 'caption' is ['a']. Expected text."),
        (lambda d: d.update(sentences={}), "'sentences' is {{}}. Expected a list."),
        (lambda d: d["videos"].clear(), "no such split ('test'). Splits in this file: none."),
    ],
)
def test_a_wrong_record_of_msrvtt_is_named(msrvtt, change, message):
    document = json.loads(msrvtt.read_text())
    change(document)
    msrvtt.write_text(json.dumps(document))
    with refuses(f"{msrvtt}: " + message.format(file=msrvtt)):
        read_captions(msrvtt, msrvtt.parent)


def test_an_unknown_split_lists_the_splits_of_the_file(msrvtt):
    with refuses(f"{msrvtt}: no such split ('validate'). Splits in this file: test, train."):
        read_captions(msrvtt, None, split="validate")


# --- MSR-VTT 1k-A -------------------------------------------------------------------------------------------------------

JSFUSION = (
    'key,vid_key,video_id,sentence\r\nret0,msr9770,video9770,a person is connecting\r\nret1,msr9771,video9771,"a little girl, singing"\r\n'
)


def jsfusion(folder, text=JSFUSION):
    file = folder / "MSRVTT_JSFUSION_test.csv"
    file.write_bytes(text.encode())
    return file


def test_1ka_has_one_sentence_for_each_video(tmp_path):
    file, media = jsfusion(tmp_path), touch(tmp_path, "video9770.mp4", "video9771.mp4")
    found = read_msrvtt_1ka(file, media)
    texts = ("a person is connecting", "a little girl, singing")
    assert outline(found) == ("MSR-VTT 1k-A", ["video9770", "video9771"], texts, ((0,), (1,)), ())
    assert read_captions(file, tmp_path) == found


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ret0,msr1,video1,x", "line 4: the key 'ret0' appears twice (first in {file}: line 2)."),
        ("ret2,msr1,video9771,x", "line 4: the video_id 'video9771' appears twice (first in {file}: line 3)."),
        ("ret2,msr1,video1,x", "line 4: the video 'video1' is not in"),
        ("ret2,msr1,video1,x, y", "line 4: not as many fields as columns (4: key, vid_key, video_id, sentence)."),
    ],
)
def test_a_wrong_line_of_1ka_is_named(tmp_path, line, message):
    file, media = jsfusion(tmp_path, JSFUSION + line), touch(tmp_path, "video9770.mp4", "video9771.mp4")
    with refuses(f"{file}: " + message.format(file=file)):
        read_msrvtt_1ka(file, media)


def test_missing_videos_of_1ka_are_reported_when_allowed(tmp_path):
    file, _ = jsfusion(tmp_path), touch(tmp_path, "video9771.mp4")
    found = read_captions(file, None, allow_missing=True)
    left_out = (f"{file}: line 2: 'video9770' is missing.",)
    assert outline(found) == ("MSR-VTT 1k-A", ["video9771"], ("a little girl, singing",), ((0,),), left_out)


# --- MSVD ---------------------------------------------------------------------------------------------------------------

NAMES = ["-4wsuPCjDBc_5_15", "vid_b_0_7"]
TEXTS = ("a squirrel is eating", "a dog, running", "a squirrel")
CORPUS = """VideoID,Start,End,WorkerID,Source,AnnotationTime,Language,Description
-4wsuPCjDBc,5,15,882559,unverified,13,English,a squirrel is eating
-4wsuPCjDBc,5,15,882559,unverified,13,Slovene,veverica
vid_b,0,7,1,clean,9,English,"a dog, running"
vid_b,0,7,2,clean,9,English,
-4wsuPCjDBc,5,15,3,clean,9,English,a squirrel
"""
LINES = """# MSVD
# another comment

-4wsuPCjDBc_5_15 a squirrel is eating
vid_b_0_7 a dog, running
-4wsuPCjDBc_5_15 a squirrel
"""


def words(kind):
    of = {name: [text.split() for text in texts] for name, texts in zip(NAMES, (TEXTS[::2], TEXTS[1:2]), strict=True)}
    return of if kind is str else {name.encode(): [[word.encode() for word in text] for text in texts] for name, texts in of.items()}


def python2_pickle():
    """A pickle of protocol 0 as written by Python 2, with byte strings."""
    return b"(dp0\nS'-4wsuPCjDBc_5_15'\np1\n(lp2\n(lp3\nS'a'\naS'caf\\xc3\\xa9'\naas."


@pytest.fixture
def clips(tmp_path):
    return touch(tmp_path / "clips", *(f"{name}.avi" for name in NAMES))


def written(folder, name, content):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


@pytest.mark.parametrize(("name", "content"), [("MSR Video Description Corpus.csv", CORPUS), ("AllVideoDescriptions.txt", LINES)])
def test_msvd_is_read_from_its_csv_and_from_its_text_file(tmp_path, clips, name, content):
    for line_end in ("\n", "\r\n"):
        file = written(tmp_path, name, content.replace("\n", line_end))
        found = read_msvd(file, clips)
        assert outline(found) == ("MSVD", NAMES, TEXTS, ((0,), (1,), (0,)), ())
        assert found.media[0].path == clips.folder / "-4wsuPCjDBc_5_15.avi"
        assert read_captions(file, clips.folder) == found


@pytest.mark.parametrize("content", [pickle.dumps(words(str)), pickle.dumps(words(bytes)), pickle.dumps(words(str), protocol=0)])
def test_msvd_is_read_from_its_pickle_with_text_or_bytes(tmp_path, clips, content):
    file = written(tmp_path, "raw-captions.pkl", content)
    found = read_captions(file, clips.folder)
    assert outline(found) == ("MSVD", NAMES, (TEXTS[0], TEXTS[2], TEXTS[1]), ((0,), (0,), (1,)), ())
    assert found.media[1].record == f"{file}: vid_b_0_7[0]"


def test_a_pickle_of_python_2_is_read(tmp_path, clips):
    assert outline(read_msvd(written(tmp_path, "raw-captions.pkl", python2_pickle()), clips))[1:3] == (NAMES[:1], ("a café",))


class Runs:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (exec, (f"open({str(self.path)!r}, 'w')",))


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_with_code_is_refused_and_its_code_does_not_run(tmp_path, clips, protocol):
    proof = tmp_path / "ran"
    file = written(tmp_path, "raw-captions.pkl", pickle.dumps({"a": Runs(proof)}, protocol=protocol))
    module = "__builtin__" if protocol < 3 else "builtins"
    with refuses(f"{file}: not a pickle of plain lists of words (it asks for {module}.exec, which may run code). No code in it was run."):
        read_msvd(file, clips)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a pickle of plain lists of words (Ran out of input)."),
        (b"hello", "not a pickle of plain lists of words ("),
        (b"\x80\x05N", "not a pickle of plain lists of words ("),
        (b"\x80\x02]}]s.", "not a pickle of plain lists of words ("),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", "not a pickle of plain lists of words ("),
        (b"\x80\x02\x82\x01.", "not a pickle of plain lists of words ("),
        (b"\x80\x02P1\n.", "not a pickle of plain lists of words ("),
        (pickle.dumps(["a"]), "not a dictionary (list)."),
        (pickle.dumps({1: []}), "1: not a text (1)."),
        (pickle.dumps({b"\xff": []}), "b'\\xff': not UTF-8 (b'\\xff')."),
        (pickle.dumps({"v": "text"}), "'v' is 'text'. Expected a list."),
        (pickle.dumps({"v": ["text"]}), "v[0]: not a list of words ('text')."),
        (pickle.dumps({"v": [["a"], ["b", 3]]}), "v[1]: not a text (3)."),
    ],
)
def test_a_pickle_with_other_content_is_refused(tmp_path, clips, content, message):
    file = written(tmp_path, "raw-captions.pkl", content)
    with refuses(f"{file}: {message}"):
        read_msvd(file, clips)


def test_a_list_of_videos_selects_and_orders_them(tmp_path, clips):
    file, videos = written(tmp_path, "a.txt", LINES), written(tmp_path, "test_list.txt", "vid_b_0_7\r\n\r\n")
    found = read_captions(file, clips.folder, videos=videos)
    assert outline(found) == ("MSVD test_list", ["vid_b_0_7"], ("a dog, running",), ((0,),), ())
    both = read_msvd(file, clips, videos=written(tmp_path, "all.txt", "vid_b_0_7\n-4wsuPCjDBc_5_15"))
    assert (both.media[0].name, both.texts, both.owners) == ("vid_b_0_7", TEXTS, ((1,), (0,), (1,)))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("vid_b_0_7\nnone_0_1\n", "test_list.txt: line 2: the video 'none_0_1' has no caption in"),
        ("vid_b_0_7\nvid_b_0_7\n", "test_list.txt: line 2: the video 'vid_b_0_7' appears twice"),
        ("", "MSVD test_list: holds 0 media and 0 texts."),
    ],
)
def test_a_wrong_list_of_videos_is_refused(tmp_path, clips, lines, message):
    videos = written(tmp_path, "test_list.txt", lines)
    with refuses(message):
        read_msvd(written(tmp_path, "a.txt", LINES), clips, videos=videos)


def test_missing_videos_of_msvd_are_an_error_or_reported_when_allowed(tmp_path, clips):
    (clips.folder / "vid_b_0_7.avi").unlink()
    file = written(tmp_path, "corpus.csv", CORPUS)
    with refuses(f"{file}: line 4: the video 'vid_b_0_7' is not in {clips.folder}."):
        read_msvd(file, clips)
    found = read_captions(file, clips.folder, allow_missing=True)
    assert outline(found) == ("MSVD", NAMES[:1], TEXTS[::2], ((0,), (0,)), (f"{file}: line 4: 'vid_b_0_7' is missing.",))


def test_a_line_of_msvd_without_a_sentence_is_named(tmp_path, clips):
    with refuses("a.txt: line 1: no sentence ('vid_b_0_7'). Expected <video> <sentence>."):
        read_msvd(written(tmp_path, "a.txt", "vid_b_0_7 \n"), clips)


# --- all formats --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.xml", "<a/>", "a.xml: captions of an unknown kind (suffix '.xml'). Known: Karpathy's JSON"),
        ("a.csv", "key,sentence\n", "a.csv: line 1: no column query, path (found: key, sentence)."),
        ("a.json", "[]", "a.json: captions of an unknown kind (found: a list)."),
        ("a.json", '{"videos": []}', "a.json: captions of an unknown kind (found: an object with videos)."),
        ("a.json", '{"videos": [],\n', "a.json: malformed JSON at line 2, column 1"),
    ],
)
def test_a_file_of_an_unknown_format_is_refused_with_the_known_formats(tmp_path, name, text, message):
    touch(tmp_path, "a.mp4")
    with refuses(message):
        read_captions(written(tmp_path, name, text), None)


def test_missing_paths_are_named(tmp_path, clips):
    for name in ("none.json", "none.csv", "none.pkl"):
        with refuses(f"{tmp_path}/{name}: no such file."):
            read_captions(tmp_path / name, clips.folder)
    with refuses(f"{tmp_path}/none.pkl: cannot be read (No such file or directory)."):
        read_msvd(tmp_path / "none.pkl", clips)
    with refuses(f"{tmp_path}/none.txt: no such file."):
        read_msvd(written(tmp_path, "a.txt", LINES), clips, videos=tmp_path / "none.txt")


def test_a_list_of_videos_is_refused_for_a_file_with_splits(msrvtt):
    with refuses(f"{msrvtt}: takes no list of videos (test_list.txt). Only MSVD needs one"):
        read_captions(msrvtt, None, videos="test_list.txt")
