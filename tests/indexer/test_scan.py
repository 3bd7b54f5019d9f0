"""Which files a scan of folders finds."""

import os
import sys
from pathlib import Path

import pytest

from indexer.errors import SourceError
from indexer.scan import scan
from tests.fakes import write_picture


def names(found):
    return [os.path.basename(uri) for uri in found.files]


def test_known_suffixes_are_found_below_all_folders_in_a_fixed_order(tmp_path):
    for name in ("b.JPG", "a/z.png", "a/film.mp4", "a/notes.txt", "c/d/e.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert names(scan([tmp_path])) == ["film.mp4", "z.png", "b.JPG", "e.webp"]


def test_hidden_files_and_collections_are_skipped(tmp_path):
    write_picture(tmp_path / "seen.jpg")
    write_picture(tmp_path / ".hidden.jpg")
    write_picture(tmp_path / ".cache" / "x.jpg")
    write_picture(tmp_path / "col" / "thumbnails" / "x.webp")
    (tmp_path / "col" / "collection.json").write_text("{}")
    (tmp_path / "col" / "segments.lance").mkdir()
    assert names(scan([tmp_path])) == ["seen.jpg"]


def test_overlapping_paths_give_a_file_once(tmp_path):
    picture = write_picture(tmp_path / "a" / "x.jpg")
    assert names(scan([tmp_path, tmp_path / "a", picture])) == ["x.jpg"]


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"nowhere: no such file or folder"):
        scan([tmp_path / "nowhere"])


def test_an_empty_folder_is_refused_and_says_that_nothing_changed(tmp_path):
    with pytest.raises(SourceError, match=r"no pictures or videos found. Nothing was changed"):
        scan([tmp_path])


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(SourceError, match=r"notes.txt: neither a picture nor a video"):
        scan([tmp_path / "notes.txt"])


def test_links_to_files_are_followed_but_not_broken_links_or_links_to_folders(tmp_path):
    write_picture(tmp_path / "real" / "x.jpg")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link.jpg").symlink_to(tmp_path / "real" / "x.jpg")
    (root / "itself.jpg").symlink_to(root / "itself.jpg")
    (root / "itself").symlink_to(root / "itself")
    (root / "dead.jpg").symlink_to(tmp_path / "nothing.jpg")
    (root / "folder").symlink_to(root, target_is_directory=True)
    assert names(scan([root])) == ["link.jpg"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes any bytes as a name")
def test_a_name_that_is_not_utf8_is_recorded_as_a_problem(tmp_path):
    write_picture(tmp_path / "good.jpg")
    with open(os.fsencode(tmp_path) + b"/bad\xff.jpg", "wb") as file:
        file.write(b"x")
    found = scan([tmp_path])
    assert names(found) == ["good.jpg"]
    assert [(problem.reason, problem.file.uri.endswith(r"bad\xff.jpg")) for problem in found.problems] == [
        ("The name of the file is not valid UTF-8. Rename it.", True)
    ]


def test_a_folder_given_under_two_names_is_scanned_once(tmp_path):
    write_picture(tmp_path / "real" / "x.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    assert list(scan([tmp_path / "link", tmp_path / "real"]).files) == [str((tmp_path / "real" / "x.jpg").resolve())]


def test_a_folder_whose_name_is_not_valid_utf8_is_refused(tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff")
    write_picture(Path(folder) / "x.jpg")
    with pytest.raises(SourceError, match=r"bad\\xff: the name is not valid UTF-8"):
        scan([folder])
