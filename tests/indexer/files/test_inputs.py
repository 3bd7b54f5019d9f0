"""What the paths of a run are: folders, files, patterns and lists."""

import os

import pytest

from indexer.errors import SourceError
from indexer.files.inputs import Selection, common_folders, read_inputs
from indexer.scan import scan
from search.collection import Identity
from tests.fakes import write_picture

FILES = ("a.jpg", "b.HEIC.jpg", "2020/c.jpg", "2020/d.png", "2021/may/e.jpg", "2021/may/day[1].jpg", "2021/may/day1.jpg")


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    for name in FILES:
        write_picture(tmp_path / name)
    (tmp_path / "2021" / "notes.txt").write_text("x")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(pictures, *paths, **more):
    return sorted(os.path.relpath(uri, pictures) for uri in scan(read_inputs(paths, **more)).files)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("~/**/*.png", ["2020/d.png"]),
        ("~/*.jpg", ["a.jpg", "b.HEIC.jpg"]),
        ("~/*.JPG", ["a.jpg", "b.HEIC.jpg"]),
        ("20*", ["2020/c.jpg", "2020/d.png", "2021/may/day1.jpg", "2021/may/day[1].jpg", "2021/may/e.jpg"]),
        ("20*/", ["2020/c.jpg", "2020/d.png", "2021/may/day1.jpg", "2021/may/day[1].jpg", "2021/may/e.jpg"]),
        ("2021/**", ["2021/may/day1.jpg", "2021/may/day[1].jpg", "2021/may/e.jpg"]),
        ("**/may/?.jpg", ["2021/may/e.jpg"]),
        ("2021/may/day[1].jpg", ["2021/may/day[1].jpg"]),  # there is a file of that very name
        ("2021/may/day[12].jpg", ["2021/may/day1.jpg"]),
        ("*/c.jpg", ["2020/c.jpg"]),
        ("~", ["2020/c.jpg", "2020/d.png", "2021/may/day1.jpg", "2021/may/day[1].jpg", "2021/may/e.jpg", "a.jpg", "b.HEIC.jpg"]),
    ],
)
def test_patterns_are_expanded(pictures, pattern, expected):
    assert found(pictures, pattern) == expected


def test_a_pattern_without_matches_is_refused(pictures):
    with pytest.raises(SourceError, match=r"/\*\.webp: no pictures or videos found"):
        scan(["*.webp"])
    with pytest.raises(SourceError, match="nowhere: no such file or folder"):
        scan(["nowhere/*.jpg"])


def test_an_empty_path_is_not_the_folder_here(pictures):
    assert (read_inputs([""]).missing, read_inputs([], listed=[""]).missing_of_list) == (("''",), ("''",))
    with pytest.raises(FileNotFoundError, match="An empty path"):
        Identity("", "", "", "", 0, roots={"1": str(pictures)}).find_root("")


def test_the_root_of_a_pattern_is_the_folder_before_it(pictures):
    assert read_inputs(["~/20*/*.jpg", "2021/may/*"]).roots == (str(pictures), str(pictures / "2021" / "may"))


def test_a_pattern_covers_what_it_would_have_found(pictures):
    scanned = scan(["20*/**/*.png"])
    assert scanned.covers(str(pictures / "2020" / "gone.png"))
    assert not any(scanned.covers(str(pictures / name)) for name in ("a.png", "2020/c.jpg", "2022.png"))
    assert not scan(["2020/**/*.png"]).covers(str(pictures / "20201" / "x.png"))


def test_a_folder_is_whole_also_if_a_pattern_comes_first(pictures):
    assert found(pictures, "2020/*.png", "2020") == ["2020/c.jpg", "2020/d.png"]


def test_a_list_may_name_what_is_missing_and_what_is_no_picture(pictures):
    inputs = read_inputs([], listed=["a.jpg", "gone.jpg", "2021/notes.txt", "2020", "day\0.jpg"])
    scanned = scan(inputs)
    assert sorted(os.path.relpath(uri, pictures) for uri in scanned.files) == ["2020/c.jpg", "2020/d.png", "a.jpg"]
    assert [os.path.basename(path) for path in scanned.seen.missing] == ["gone.jpg", "day?.jpg"]


def test_wildcards_in_a_list_are_names(pictures):
    assert found(pictures, listed=["2021/may/day[1].jpg"]) == ["2021/may/day[1].jpg"]
    assert read_inputs([], listed=["*.jpg"]).missing_of_list == (str(pictures / "*.jpg"),)


def test_the_root_of_a_list_is_the_folder_that_contains_it(pictures):
    assert read_inputs([], listed=["2021/may/e.jpg", "2020/c.jpg"]).roots == (str(pictures),)
    assert read_inputs(["2021/may/e.jpg", "2020/c.jpg"]).roots == (str(pictures / "2021" / "may"), str(pictures / "2020"))


def test_a_root_whose_name_has_wildcards_is_missing_and_no_pattern(pictures):
    root = str(pictures / "usb [1]")
    assert read_inputs([root], roots=[root]).missing == (root,)


def test_a_pipe_is_not_opened(pictures):
    os.mkfifo("pipe.jpg")
    assert read_inputs(["pipe.jpg"]).unreadable == {str(pictures / "pipe.jpg"): "Neither a file nor a folder"}


def test_common_folders_of_several_places():
    local = ["/a/b/c/1.jpg", "/a/b/2.jpg", "/d/3.jpg"]
    buckets = ["s3://bucket/k/1.jpg", "s3://bucket/2.jpg", "s3://other/3.jpg"]
    assert common_folders(local + buckets) == ["/a/b", "/d", "s3://bucket", "s3://other"]


def test_a_selection_of_everything_has_everything():
    assert Selection("/a").has("/a/b.jpg")
    assert str(Selection("/a", ("**", "*.jpg"))) == "/a/**/*.jpg"


@pytest.mark.parametrize("bad", ["ftp://host/a.jpg", "s3://", "s3://key:secret@bucket/a.jpg", "n" * 5000, "a\0b.jpg"])
def test_a_path_of_a_list_or_manifest_that_cannot_be_used_is_told_and_does_not_stop_the_run(pictures, bad):
    for given in ({"listed": ["a.jpg", bad]}, {"columns": {"a.jpg": {"title": "x"}, bad: {"title": "y"}}}):
        inputs = read_inputs([], **given)
        assert inputs.listed == (str(pictures / "a.jpg"),)
        assert len([*inputs.unreadable, *inputs.missing_of_list]) == 1
        assert not any("secret" in each for each in inputs.unreadable)
        assert inputs.columns.get(str(pictures / "a.jpg")) == given.get("columns", {}).get("a.jpg")
