"""Folders of this machine: what a walk finds, and when the revision of a file changes."""

import errno
import os
import socket

import pytest

from media.sources.local import LocalFolders
from media.sources.source import Visit
from tests.fakes import write_picture

LOCAL = LocalFolders()


def is_picture(uri):
    return uri.endswith((".jpg", ".heic"))


def walk(folder, **options):
    visit = Visit(wants=is_picture, **options)
    return {os.path.relpath(file.uri, folder): file for file in LOCAL.walk(str(folder), visit)}, visit


def only(tmp_path):
    (file,) = walk(tmp_path)[0].values()
    return file


@pytest.fixture
def picture(tmp_path):
    return write_picture(tmp_path / "a.jpg")


def test_a_change_under_the_same_size_and_time_changes_the_revision(tmp_path, picture):
    before, status = only(tmp_path), picture.stat()
    with picture.open("r+b") as file:
        file.write(b"x")
    os.utime(picture, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = only(tmp_path)
    assert (after.size_bytes, after.mtime) == (before.size_bytes, before.mtime)
    assert after.revision != before.revision
    assert after == only(tmp_path) == LOCAL.stat(str(picture))


def test_a_file_that_another_one_replaced_has_another_revision(tmp_path, picture):
    before, status = only(tmp_path), picture.stat()
    other = write_picture(tmp_path / "b.jpg")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(picture)
    assert only(tmp_path).revision != before.revision


@pytest.mark.parametrize("name", ["a.xmp", "a.jpg.xmp", "a.jpg.json", "a.jpg.supplemental-metadata.json"])
def test_a_sidecar_is_found_and_its_changes_change_the_revision(tmp_path, picture, name):
    without = only(tmp_path)
    (tmp_path / name).write_text("one")
    first = only(tmp_path)
    assert first.sidecars == (str(tmp_path / name),)
    (tmp_path / name).write_text("another")
    second = only(tmp_path)
    (tmp_path / name).unlink()
    assert len({without.revision, first.revision, second.revision}) == 3
    assert only(tmp_path) == without


def test_the_revision_does_not_change_with_the_folder(tmp_path, picture):
    (tmp_path / "a.xmp").write_text("x")
    before = only(tmp_path)
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert only(moved).revision == before.revision


def test_a_sidecar_that_is_a_link_to_nothing_is_no_sidecar(tmp_path, picture):
    (tmp_path / "a.xmp").symlink_to("nowhere")
    assert only(tmp_path).sidecars == ()


def test_what_is_no_file_is_counted_and_never_opened(tmp_path, picture, monkeypatch):
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # the path of a socket may be short only
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.jpg")
        (tmp_path / "link.jpg").symlink_to("pipe.jpg")
        (tmp_path / "folder.jpg").mkdir()
        unwanted = []
        found, visit = walk(tmp_path, on_unwanted=unwanted.append)
    assert (list(found), visit.num_special, unwanted) == (["a.jpg"], 3, [])


def test_hidden_pictures_and_folders_are_counted(tmp_path, picture):
    write_picture(tmp_path / ".hidden.jpg")
    write_picture(tmp_path / ".thumbnails" / "x.jpg")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    found, visit = walk(tmp_path)
    assert (list(found), visit.num_hidden) == (["a.jpg"], 2)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_folder_that_cannot_be_listed_is_named_and_the_others_are_walked(tmp_path, picture, monkeypatch, code):
    write_picture(tmp_path / "closed" / "x.jpg")
    scandir = os.scandir

    def refuse(path):
        if path == str(tmp_path / "closed"):
            raise OSError(code, os.strerror(code))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found, visit = walk(tmp_path)
    assert list(found) == ["a.jpg"]
    assert visit.unreadable == {str(tmp_path / "closed"): os.strerror(code)}


def test_a_folder_on_another_device_is_told(tmp_path, picture, monkeypatch):
    write_picture(tmp_path / "drive" / "deep" / "x.jpg")
    status = os.stat

    def on_another_device(path, **options):
        found = status(path, **options)
        if "drive" in str(path):
            return os.stat_result([*found[:2], found.st_dev + 1, *found[3:]])
        return found

    monkeypatch.setattr(os, "stat", on_another_device)
    assert walk(tmp_path)[1].mounts == [str(tmp_path / "drive")]


def test_folders_nested_more_deeply_than_python_recurses_are_walked(tmp_path):
    folders = [str(tmp_path) + "/d" * depth for depth in range(1, 1200)]
    for folder in folders:
        os.mkdir(folder)
    with open(folders[-1] + "/x.jpg", "wb"):
        pass
    found, _ = walk(tmp_path)
    os.unlink(folders[-1] + "/x.jpg")
    for folder in reversed(folders):  # pytest would recurse
        os.rmdir(folder)
    assert len(found) == 1


@pytest.mark.parametrize("same", [True, False])
def test_the_files_of_a_collection_are_skipped_wherever_it_lies(tmp_path, picture, same):
    collection = tmp_path if same else tmp_path / "collection"
    write_picture(collection / "thumbnails" / "001" / "t.jpg")
    write_picture(collection / "mine" / "b.jpg")
    (collection / "collection.json").write_text("{}")
    (collection / "segments.lance").mkdir()
    assert sorted(walk(tmp_path)[0]) == sorted(["a.jpg", os.path.relpath(collection / "mine" / "b.jpg", tmp_path)])
