"""Reading text, JSON, CSV and media folders of data sets, and the error messages."""

import re

import pytest

from evaluation.datasets.dataset import CaptionedMedia, MediaFolder, Medium, join_captions
from evaluation.datasets.files import Unique, check_split, get, read_csv, read_json, read_text
from evaluation.errors import DatasetError
from tests.fakes import write_picture


def refuses(message):
    return pytest.raises(DatasetError, match=re.escape(message))


def written(path, text):
    path.write_bytes(text.encode())
    return path


# --- text and JSON ------------------------------------------------------------------------------------------------------


def test_a_byte_order_mark_is_removed(tmp_path):
    assert read_text(written(tmp_path / "a.txt", "\ufeffhallo")) == "hallo"


def test_a_missing_file_a_folder_or_another_encoding_is_named(tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with refuses(f"{tmp_path}/none.txt: no such file."):
        read_text(tmp_path / "none.txt")
    with refuses(f"{tmp_path}: cannot be read (Is a directory)."):
        read_text(tmp_path)
    with refuses("latin.txt: not UTF-8 text (line 1). Save the file as UTF-8."):
        read_text(tmp_path / "latin.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n "b": }', "a.json: malformed JSON at line 2, column 7 (Expecting value)."),
        ("", "a.json: malformed JSON at line 1, column 1 (Expecting value)."),
        ("[" * 200_000, "a.json: malformed JSON (nested too deeply)."),
        ("[" + "1" * 5000 + "]", "a.json: malformed JSON (Exceeds the limit"),
    ],
)
def test_malformed_json_is_reported_with_its_position(tmp_path, text, message):
    with refuses(message):
        read_json(written(tmp_path / "a.json", text))


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ([1], str, "here: not an object ([1]). Expected one with 'a'."),
        ({"b": 1}, str, "here: 'a' is missing (found: b). Expected text."),
        ({"a": 1}, str, "here: 'a' is 1. Expected text."),
        ({"a": True}, int, "here: 'a' is True. Expected a whole number."),
        ({"a": None}, (list, dict), "here: 'a' is None. Expected a list or an object."),
    ],
)
def test_a_missing_value_or_one_of_another_type_is_named(value, kind, message):
    with refuses(message):
        get(value, "a", kind, "here")


def test_a_second_record_with_the_same_id_names_both():
    ids = Unique("id")
    ids.add(7, "line 1")
    with refuses("line 3: the id 7 appears twice (first in line 1)."):
        ids.add(7, "line 3")


def test_an_unknown_split_lists_the_available_ones(tmp_path):
    check_split("val", {"val"}, tmp_path)
    with refuses(f"{tmp_path}: no such split ('dev'). Splits in this file: test, val."):
        check_split("dev", {"val", "test"}, tmp_path)


# --- CSV ----------------------------------------------------------------------------------------------------------------


def rows(path, text, columns=("a", "b")):
    return list(read_csv(written(path, text), columns))


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("\ufeffa,b\r\n1,2\r\n", {"a": "1", "b": "2"}),
        ("a, b\n 1 , 2 \n\n", {"a": "1", "b": "2"}),
        ('a,b\n"x, y", "say ""hi"""\n', {"a": "x, y", "b": 'say "hi"'}),
        ('a,b\n"two\nlines",2\n', {"a": "two\nlines", "b": "2"}),
        ("a,b\nno\u2028new\x0cline\x85x,\U0001f600\n", {"a": "no\u2028new\x0cline\x85x", "b": "\U0001f600"}),
        ("b,c,a\n2,3,1", {"a": "1", "b": "2", "c": "3"}),
    ],
)
def test_csv_is_read_in_the_variants_of_spreadsheets(tmp_path, text, row):
    assert [found for _, found in rows(tmp_path / "a.csv", text)] == [row]


def test_a_row_after_a_multi_line_row_is_named_by_its_line(tmp_path):
    names = [name for name, _ in rows(tmp_path / "a.csv", 'a,b\n"x\ny",2\n3,4\n')]
    assert names == [f"{tmp_path}/a.csv: line 3", f"{tmp_path}/a.csv: line 4"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.csv: line 1: no column a, b (found: nothing)."),
        ("a;b\n1;2\n", "a.csv: line 1: no column a, b (found: a;b)."),
        ("a,b,a\n1,2,3\n", "a.csv: line 1: the column a appears twice (found: a, b, a)."),
        ("a,b\n1,2,3\n", "a.csv: line 2: not as many fields as columns (2: a, b)."),
        ("a,b\n1\n", "a.csv: line 2: not as many fields as columns (2: a, b)."),
        ('a,b\n1,"2\n', "a.csv: line 2: malformed CSV (unexpected end of data)."),
        ('a,b\n1,"2"3\n', "a.csv: line 2: malformed CSV"),
    ],
)
def test_malformed_csv_names_the_line(tmp_path, text, message):
    with refuses(message):
        rows(tmp_path / "a.csv", text)


# --- media --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    for name in ("val2014/a.jpg", "deep/down/b.png", "film.x.mp4", "deep/clip.avi"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "kind", "inside", "path"),
    [
        ("a.jpg", "image", "val2014", "val2014/a.jpg"),
        ("val2014/a.jpg", "image", "elsewhere", "val2014/a.jpg"),
        ("b", "image", "", "deep/down/b.png"),
        ("b.png", "image", "", "deep/down/b.png"),
        ("film.x", "video", "", "film.x.mp4"),
        ("film.x.mov", "video", "", "film.x.mp4"),
        ("clip.mov", "video", "", "deep/clip.avi"),
    ],
)
def test_a_medium_is_found_with_or_without_its_suffix(folder, name, kind, inside, path):
    assert MediaFolder(folder).find(name, kind, "r", inside=inside) == Medium(name, folder / path, kind, "r")


@pytest.mark.parametrize("name", ["film", "film.y", "a.mp4", "deep", "", "down/b.png", "x" * 5000, "\0"])
def test_a_missing_medium_is_an_error_that_names_the_record(folder, name):
    with refuses(f"line 7: the video {name!r} is not in {folder}. Pass its folder with --media, or --allow-missing"):
        MediaFolder(folder).find(name, "video", "line 7")


def test_pictures_and_videos_in_one_folder_are_distinguished(folder):
    media = MediaFolder(folder, allow_missing=True)
    assert media.find("clip", "image", "r1") is None
    assert media.find("clip", "video", "r2") is not None
    assert media.missing == ["r1: 'clip' is missing."]


def test_a_name_with_a_folder_is_not_found_in_another_folder(folder):
    assert MediaFolder(folder, allow_missing=True).find("other/b.png", "image", "r") is None


def test_a_picture_with_another_suffix_is_not_found(folder):
    with refuses(f"r: the picture 'b.jpg' is not in {folder}."):
        MediaFolder(folder).find("b.jpg", "image", "r")
    write_picture(folder / "a.jpg")
    with refuses(f"r: the picture 'a.png' is not in {folder}."):
        MediaFolder(folder).find("a.png", "image", "r")


def test_an_exact_name_is_preferred_over_the_same_stem(tmp_path):
    for name in ("x/a.jpg.png", "sub/a.jpg", "a.png"):
        write_picture(tmp_path / name)
    assert MediaFolder(tmp_path).find("a.jpg", "image", "r").path == tmp_path / "sub/a.jpg"


@pytest.mark.parametrize("hidden", [".cache/c.jpg", "deep/.cache/c.jpg", ".cache/deep/c.jpg", "deep/.c.jpg"])
def test_a_file_in_a_hidden_folder_is_not_found(folder, hidden):
    write_picture(folder / hidden)
    name = hidden.rpartition("/")[2]
    with refuses(f"r: the picture {name!r} is not in {folder}."):
        MediaFolder(folder).find(name, "image", "r")
    write_picture(folder / "seen" / "c.jpg")
    assert MediaFolder(folder).find("c.jpg", "image", "r").path == folder / "seen/c.jpg"


def test_exact_finds_no_other_suffix(folder):
    media = MediaFolder(folder, allow_missing=True)
    assert media.find("clip.mov", "video", "r", exact=True) is None


def test_the_same_name_in_two_folders_is_refused_unless_one_suffix_is_exact(tmp_path):
    for name in ("x/1.jpg", "y/1.jpg", "x/2.jpg", "y/2.png"):
        write_picture(tmp_path / name)
    with refuses(f"r: '1.jpg' may be any of 2 files (x/1.jpg, y/1.jpg). Keep one of them below {tmp_path}."):
        MediaFolder(tmp_path).find("1.jpg", "image", "r")
    assert MediaFolder(tmp_path).find("2.png", "image", "r").path == tmp_path / "y/2.png"


def test_a_missing_folder_and_missing_annotations_have_different_messages(tmp_path):
    with refuses(f"{tmp_path}/no: no such folder."):
        MediaFolder(tmp_path / "no")
    with refuses(f"{tmp_path}/no/a.json: no such file."):
        MediaFolder.of(tmp_path / "no/a.json", None)
    file = written(tmp_path / "a.json", "{}")
    assert MediaFolder.of(file, None).folder == tmp_path


# --- media with captions ------------------------------------------------------------------------------------------------


def test_captions_stay_aligned_when_a_medium_is_missing_and_a_text_is_empty(tmp_path):
    one, three = (Medium(name, tmp_path, "image", name) for name in ("1", "3"))
    found = join_captions("t", {1: one, 2: None, 3: three}, [(3, "c", "r1"), (2, "b", "r2"), (1, " \n", "r3"), (3, "d ", "r4")], ["gone"])
    assert found == CaptionedMedia("t", (one, three), ("c", "d "), ((1,), (1,)), ("gone", "r3: an empty text"))


def test_a_text_with_half_a_surrogate_pair_is_refused(tmp_path):
    with refuses("r1: the text is not valid Unicode (surrogates not allowed at character 2)."):
        join_captions("t", {1: Medium("1", tmp_path, "image", "m")}, [(1, "a \ud83d", "r1")])


def test_a_set_without_a_text_is_refused(tmp_path):
    with refuses("t: holds 1 media and 0 texts. At least one of each is needed."):
        join_captions("t", {1: Medium("1", tmp_path, "image", "m")}, [])


def test_removing_a_medium_removes_texts_that_describe_no_other(tmp_path):
    a, b, c = (Medium(name, tmp_path, "image", f"record {name}") for name in "abc")
    whole = CaptionedMedia("t", (a, b, c), ("x", "y", "z"), ((0, 1), (1,), (2,)), ("gone",))
    assert whole.texts_of == [[0], [0, 1], [2]]
    assert whole.without({1: "b: broken."}) == CaptionedMedia("t", (a, c), ("x", "z"), ((0,), (1,)), ("gone", "b: broken."))
