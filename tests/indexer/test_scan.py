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


def test_a_folder_given_under_two_names_is_scanned_once(tmp_path):
    write_picture(tmp_path / "real" / "x.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    assert list(scan([tmp_path / "link", tmp_path / "real"]).files) == [str((tmp_path / "real" / "x.jpg").resolve())]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes any bytes as a name")
def test_names_that_are_not_utf8_are_found(tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff")
    write_picture(Path(folder) / "x.jpg")
    write_picture(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.jpg")))
    assert list(scan([tmp_path]).files) == [f"{folder}/x.jpg", os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.jpg")]
    assert list(scan([folder]).files) == [f"{folder}/x.jpg"]


def test_a_missing_path_that_was_indexed_is_no_error(tmp_path):
    write_picture(tmp_path / "here" / "x.jpg")
    root = tmp_path / "drive"
    found = scan([tmp_path / "here", root, root / "2020", root / "y.jpg"], roots=[str(root)])
    assert (names(found), found.missing) == (["x.jpg"], (str(root), str(root / "2020"), str(root / "y.jpg")))
    assert scan([tmp_path / "here", tmp_path / "mnt"], roots=[str(tmp_path / "mnt" / "drive")]).missing == (str(tmp_path / "mnt"),)
    assert scan([root], roots=[str(root)], known=[str(root / "x.jpg")]).missing == (str(root),)
    with pytest.raises(SourceError, match=r"drive: no pictures or videos found"):
        scan([root], roots=[str(root)])


def test_what_cannot_be_read_is_named_by_its_suffix(tmp_path):
    write_picture(tmp_path / "a.jpg")
    for name in ("b.xyz", "c.XYZ", "d.backup"):
        write_picture(tmp_path / name, format="JPEG")
    (tmp_path / "e.braw").write_bytes(b"raw")
    (tmp_path / "f.ras").write_bytes(b"Sun raster, which Python's table calls a picture")
    (tmp_path / "notes.txt").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "g.dat").write_bytes(b"data")
    found = scan([tmp_path])
    assert names(found) == ["a.jpg"]
    assert found.seen.unread == {".xyz": 2, ".backup": 1, ".braw": 1, ".ras": 1}


def test_a_picture_without_a_suffix_is_told_by_its_bytes(tmp_path):
    write_picture(tmp_path / "IMG_0001", format="JPEG")
    (tmp_path / "IMG_0001.xmp").write_text("x")
    (tmp_path / "README").write_text("text")
    (tmp_path / "empty").touch()
    found = scan([tmp_path])
    assert names(found) == ["IMG_0001"]
    assert found.files[str(tmp_path / "IMG_0001")].sidecars == (str(tmp_path / "IMG_0001.xmp"),)


def test_a_suffix_that_other_programs_share_counts_only_with_the_bytes_of_a_film(tmp_path):
    (tmp_path / "code.ts").write_text("export const answer: number = 42;\n" * 100)
    (tmp_path / "song.ogg").write_bytes(b"OggS\0\2" + bytes(22) + b"\1\x1e\1vorbis" + bytes(4000))
    (tmp_path / "film.ts").write_bytes((b"G" + bytes(187)) * 20)
    write_picture(tmp_path / "seen.jpg")
    found = scan([tmp_path])
    assert names(found) == ["film.ts", "seen.jpg"]
    assert not found.seen.unread
    (tmp_path / "film.ts").write_bytes(b"no film any more")
    assert names(scan([tmp_path], known=list(found.files))) == ["film.ts", "seen.jpg"]  # so that it is tried, and reported


def test_a_file_has_the_same_revision_whether_its_folder_or_the_file_is_named(tmp_path):
    picture = write_picture(tmp_path / "a.jpg")
    (tmp_path / "a.jpg.xmp").write_text("x")
    (tmp_path / "b.jpg.xmp").write_text("x")
    assert scan([tmp_path]).files == scan([picture]).files == scan([tmp_path, picture]).files
