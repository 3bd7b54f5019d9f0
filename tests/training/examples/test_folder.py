"""Folders of pictures with captions.csv, or with text files beside the pictures."""

import re
import unicodedata

import pytest

from tests.fakes import write_picture
from training.errors import TrainingError
from training.examples.example import Skipped
from training.examples.folder import read_folder


@pytest.fixture
def holiday(tmp_path):
    """A folder with two pictures."""
    for name in ("lake.jpg", "sub/sea.PNG"):
        write_picture(tmp_path / "holiday" / name, "blue")
    return tmp_path / "holiday"


def read(folder):
    return read_folder(folder, name=folder.name)


def read_csv(folder, text, encoding="utf-8"):
    (folder / "captions.csv").write_bytes(text.encode(encoding))
    return read(folder)


def texts(found):
    return {example.name: example.texts for example in found.examples}


BOTH = {"holiday/lake.jpg": ("a lake",), "holiday/sub/sea.PNG": ("the sea",)}


# --- captions.csv -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_csv_gives_examples_with_the_bytes_of_their_files(holiday, encoding, end):
    found = read_csv(holiday, end.join(["path,caption", "sub/sea.PNG,the sea", "lake.jpg, a lake", ""]), encoding)
    assert texts(found) == BOTH
    assert [example.read() for example in found.examples] == [(holiday / name).read_bytes() for name in ("sub/sea.PNG", "lake.jpg")]
    assert {(example.source, example.split, example.kind) for example in found.examples} == {("holiday", "train", "caption")}
    assert found.skipped == ()


def test_several_rows_of_a_picture_give_one_example_with_several_captions(holiday):
    rows = 'lake.jpg,"a lake; a boat, too"\nsub/sea.PNG,the sea\nlake.jpg,"she says ""hm"""\n./sub/../lake.jpg,ein See; groß\n'
    assert texts(read_csv(holiday, f"path,caption\n{rows}")) == {
        "holiday/lake.jpg": ("a lake; a boat, too", 'she says "hm"', "ein See; groß"),
        "holiday/sub/sea.PNG": ("the sea",),
    }


def test_text_files_are_ignored_if_there_is_a_csv(holiday):
    (holiday / "sub/sea.txt").write_text("the sea")
    found = read_csv(holiday, "path,caption\nlake.jpg,a lake\n")
    assert texts(found) == {"holiday/lake.jpg": ("a lake",)}
    assert found.skipped == (Skipped("holiday/sub/sea.PNG", "no caption: captions.csv does not list it"),)


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_are_found_in_any_unicode_normalisation(tmp_path, forms):
    on_disk, in_csv = (unicodedata.normalize(form, "Käse.jpg") for form in forms)
    write_picture(tmp_path / "food" / on_disk)
    assert texts(read_csv(tmp_path / "food", f"path,caption\n{in_csv},cheese\n")) == {f"food/{on_disk}": ("cheese",)}


def test_a_csv_may_have_a_split_column(holiday):
    found = read_csv(holiday, "caption,split,path\na lake,validation,lake.jpg\nthe sea,,sub/sea.PNG\n")
    assert [(example.name, example.split) for example in found.examples] == [("holiday/lake.jpg", "val"), ("holiday/sub/sea.PNG", "train")]


def test_an_example_is_never_in_two_splits(holiday):
    found = read_csv(holiday, "path,caption,split\nlake.jpg,a lake,val\nlake.jpg,water,train\nsub/sea.PNG,the sea,test\n")
    assert [(example.texts, example.split) for example in found.examples] == [(("a lake",), "val")]
    assert found.skipped == (
        Skipped("holiday/captions.csv line 3", "'lake.jpg' is in two splits (val before, train here). The first counts"),
        Skipped("holiday/captions.csv line 4", "of the test split, which is never trained on"),
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("gone.jpg,a lake", "no such picture ('gone.jpg'), or an empty file"),
        ("empty.jpg,a lake", "no such picture ('empty.jpg'), or an empty file"),
        ("sub,a lake", "not a picture ('sub'). docs/formats.md"),
        (",a lake", "no path"),
        ("lake.jpg, ", "no caption for 'lake.jpg'"),
        ("lake.jpg", "1 fields, but the first line has 2. Quote fields that contain a comma"),
        ("lake.jpg,a lake, and a boat", "3 fields, but the first line has 2. Quote"),
        ('lake.jpg,"a" lake', "malformed CSV ("),
        (f"{'x' * 300}.jpg,a lake", "no such picture ("),
    ],
)
def test_a_bad_line_of_a_csv_is_skipped_and_other_examples_are_kept(holiday, row, reason):
    (holiday / "empty.jpg").touch()
    found = read_csv(holiday, f'path,caption\n\nlake.jpg,"a\nlake"\n{row}\nsub/sea.PNG,the sea\n')
    assert texts(found) == {"holiday/lake.jpg": ("a\nlake",), "holiday/sub/sea.PNG": ("the sea",)}
    (skip,) = [skip for skip in found.skipped if skip.name != "holiday/empty.jpg"]
    assert skip.name == "holiday/captions.csv line 5"
    assert skip.reason.startswith(reason)


def test_an_unclosed_quote_in_a_csv_keeps_the_examples_before_it(holiday):
    found = read_csv(holiday, 'path,caption\nlake.jpg,a lake\nlake.jpg,"water\nsub/sea.PNG,the sea\n')
    assert texts(found) == {"holiday/lake.jpg": ("a lake",)}
    assert found.skipped[0] == Skipped(
        "holiday/captions.csv line 3", "malformed CSV (unexpected end of data); everything up to line 4 is skipped"
    )


def test_a_path_outside_the_folder_is_allowed_if_it_exists(holiday):
    write_picture(holiday.parent / "hill.jpg")
    found = read_csv(holiday, f"path,caption\n../hill.jpg,a hill\n../gone.jpg,x\n{holiday}/lake.jpg,a lake\n")
    assert texts(found) == {"holiday/../hill.jpg": ("a hill",), "holiday/lake.jpg": ("a lake",)}
    assert found.skipped[0].name == "holiday/captions.csv line 3"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"path;caption\nlake.jpg;a lake\n",
            "line 1: the column path is missing or repeated (found: path;caption). Needed in the first line, separated by commas: path",
        ),
        (b"path,title\n", "line 1: the column caption is missing or repeated (found: path, title). Needed in the first line"),
        (b"path,caption,path\n", "line 1: the column path is missing or repeated (found: path, caption, path)."),
        (b"", "line 1: the column path is missing or repeated (found: nothing)."),
        (b"path,caption\nlake.jpg,\xe4\n", "not UTF-8 text (line 2). Save the file as UTF-8."),
    ],
)
def test_an_unreadable_csv_is_refused(holiday, content, message):
    (holiday / "captions.csv").write_bytes(content)
    with pytest.raises(TrainingError, match=re.escape(f"{holiday / 'captions.csv'}: {message}")):
        read(holiday)


# --- a text beside each picture -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lake", "sea"), [("lake.txt", "sea.TXT"), ("lake.jpg.txt", "sea.PNG.txt")])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_text_files_beside_pictures_give_examples(holiday, lake, sea, encoding):
    (holiday / lake).write_text("a lake\n", encoding)
    (holiday / "sub" / sea).write_text("the sea", encoding)
    found = read(holiday)
    assert texts(found) == BOTH
    assert [example.read() for example in found.examples] == [(holiday / name).read_bytes() for name in ("lake.jpg", "sub/sea.PNG")]
    assert found.skipped == ()


def test_each_line_of_a_text_file_is_a_caption(holiday):
    (holiday / "lake.txt").write_bytes("a lake; a boat\r\n\r\n  ein See, groß \r\n".encode())
    (holiday / "lake.jpg.txt").write_text("water\n")
    assert texts(read(holiday)) == {"holiday/lake.jpg": ("water", "a lake; a boat", "ein See, groß")}


def test_examples_of_a_folder_are_in_a_fixed_order_without_hidden_files(tmp_path):
    for name in ("b.jpg", "a/2.jpg", "a/10.jpg", "ä.jpg", ".hidden/x.jpg", ".x.jpg"):
        write_picture(tmp_path / "data" / name).with_suffix(".txt").write_text(name)
    found = read(tmp_path / "data")
    assert list(texts(found)) == ["data/b.jpg", "data/ä.jpg", "data/a/10.jpg", "data/a/2.jpg"]
    assert found.skipped == ()


def test_a_picture_without_text_or_a_text_without_picture_is_skipped(holiday):
    (holiday / "lake.txt").write_text(" \n ")
    (holiday / "README.txt").write_text("read me")
    (holiday / "sub/sea.txt").write_bytes(b"\xff")
    reasons = {skip.name: skip.reason for skip in read(holiday).skipped}
    assert reasons == {
        "holiday/lake.jpg": "no caption: no lake.txt with text beside it",
        "holiday/sub/sea.PNG": f"no caption: {holiday}/sub/sea.txt: not UTF-8 text (line 1). Save the file as UTF-8.",
        "holiday/README.txt": "a text without a picture beside it",
    }


def test_files_that_cannot_be_examples_are_skipped(tmp_path):
    folder = tmp_path / "data"
    for name in (unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD")):
        write_picture(folder / name).with_suffix(".txt").write_text("e")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "\udcff.jpg").write_bytes(b"x")
    found = read(folder)
    assert len(found.examples) == 1
    assert len(found.skipped) == 4
    assert {"data/loop.jpg", "data/\\udcff.jpg"} < {skip.name for skip in found.skipped}


def test_a_link_to_a_folder_is_reported_and_not_followed(holiday, tmp_path):
    write_picture(tmp_path / "elsewhere" / "lake.jpg").with_suffix(".txt").write_text("another lake")
    before = read(holiday)
    (holiday / "sub" / "link").symlink_to(tmp_path / "elsewhere")
    (holiday / "latest").symlink_to(holiday / "sub")
    found = read(holiday)
    assert texts(found) == texts(before)
    assert [skip.name for skip in found.skipped if skip not in before.skipped] == ["holiday/sub/link"]
