"""Roots: folders whose files are stored with relative paths, so a moved library keeps its rows."""

import shutil
from dataclasses import replace

import pytest

from indexer import index
from search import QueryError, open_collection, search
from search.collection.identity import Identity
from search.collection.roots import move_root, remove_root
from search.collection.verify import verify
from tests.fakes import FakeEncoder, write_film, write_picture

IDENTITY = Identity("c", "default", "m@1", "p", 4, {"a": "/home/anna/Pictures", "b": "/home/anna", "c": "/media/disk"})


@pytest.fixture
def library(tmp_path):
    write_picture(tmp_path / "library" / "red.png", "red")
    write_picture(tmp_path / "library" / "été" / "blue.png", "blue")
    write_film(tmp_path / "library" / "film.mp4", [("green", 2.0)])
    index(tmp_path / "library", collection=tmp_path / "c", encoder=FakeEncoder())
    return tmp_path / "library"


def opened(tmp_path):
    return open_collection(tmp_path / "c", encoder=FakeEncoder())


def test_a_file_belongs_to_its_innermost_root():
    assert IDENTITY.locate("/home/anna/Pictures/2020/x.jpg") == ("a", "2020/x.jpg")
    assert IDENTITY.locate("/home/anna/Pictures2/x.jpg") == ("b", "Pictures2/x.jpg")
    assert IDENTITY.locate("/tmp/x.jpg") == ("", "/tmp/x.jpg")
    assert IDENTITY.uri_of("a", "2020/x.jpg") == "/home/anna/Pictures/2020/x.jpg"


@pytest.mark.parametrize("uri", ["/home/anna/Pictures/\udcff.jpg", "/tmp/\udcff.jpg", "/tmp/\uef80.jpg", "s3://bucket/a//b.jpg"])
def test_any_name_is_found_again_also_outside_the_roots(uri):
    assert IDENTITY.uri_of(*IDENTITY.locate(uri)) == uri
    assert IDENTITY.uris_of(*([each] for each in IDENTITY.locate(uri))) == [uri]


def test_a_folder_below_a_root_does_not_become_a_root():
    assert IDENTITY.with_root("/media/disk/2020") == IDENTITY
    assert list(IDENTITY.with_root("/media").roots.values())[-1] == "/media"


def test_moving_a_root_finds_a_moved_library_without_embedding(tmp_path, library):
    before = {hit.path: hit.similarity for hit in search("red", collection=opened(tmp_path))}
    shutil.move(library, tmp_path / "drive" / "library")
    (root_id,) = opened(tmp_path).identity.roots
    assert move_root(tmp_path / "c", root_id, tmp_path / "drive" / "library") == (3, 3)
    hits = search("red", collection=opened(tmp_path))
    assert {hit.path: hit.similarity for hit in hits} == before
    assert all(hit.uri.startswith(str(tmp_path / "drive" / "library")) for hit in hits)
    report = index(tmp_path / "drive" / "library", collection=tmp_path / "c", encoder=FakeEncoder())
    assert (report.num_unchanged, report.num_new, report.num_gone, report.num_moved) == (3, 0, 0, 0)


def test_an_open_reader_follows_a_moved_root(tmp_path, library):
    collection = opened(tmp_path)
    shutil.move(library, tmp_path / "drive")
    move_root(tmp_path / "c", next(iter(collection.identity.roots)), tmp_path / "drive")
    assert collection.refresh()
    assert search("red", collection=collection, where=f"uri LIKE '{tmp_path}/drive/%'", k=1)[0].uri == str(tmp_path / "drive" / "red.png")


@pytest.mark.parametrize(
    ("root_id", "folder", "expected"),
    [
        ("nonsense", "library", "Unknown root"),
        ("", "nowhere", "no such folder"),
        ("", "empty", r"none of the 3 files .* Nothing was changed"),
    ],
)
def test_a_wrong_root_or_folder_is_refused(tmp_path, library, root_id, folder, expected):
    (tmp_path / "empty").mkdir()
    before = opened(tmp_path).identity
    with pytest.raises(QueryError, match=expected):
        move_root(tmp_path / "c", root_id or next(iter(before.roots)), tmp_path / folder)
    assert opened(tmp_path).identity == before


def test_indexing_a_folder_above_a_root_keeps_ids_and_rows(tmp_path, library):
    before = {hit.uri: hit.media_id for hit in search("red", collection=opened(tmp_path))}
    write_picture(tmp_path / "other" / "white.png", "white")
    shutil.move(tmp_path / "c", tmp_path.parent / f"{tmp_path.name}-c")
    collection = tmp_path.parent / f"{tmp_path.name}-c"
    report = index(tmp_path, collection=collection, encoder=FakeEncoder())
    assert (report.num_unchanged, report.num_new) == (3, 1)
    hits = search("red", collection=open_collection(collection, encoder=FakeEncoder()))
    assert before.items() <= {hit.uri: hit.media_id for hit in hits}.items()
    shutil.rmtree(collection)


def test_moving_one_root_keeps_the_others():
    assert IDENTITY.move_root("c", "/mnt/x") == replace(IDENTITY, roots={**IDENTITY.roots, "c": "/mnt/x"})


def test_a_root_inside_a_moved_one_moves_with_it():
    identity = replace(IDENTITY, roots={"out": "/a/b", "in": "/a/b/c/d", "beside": "/a/bc"})
    assert identity.move_root("out", "/x").roots == {"out": "/x", "in": "/x/c/d", "beside": "/a/bc"}
    assert identity.move_root("in", "/x").roots == {"out": "/a/b", "in": "/x", "beside": "/a/bc"}


def test_a_root_is_not_moved_onto_files_that_are_indexed_already(tmp_path, library):
    (old,) = opened(tmp_path).identity.roots
    shutil.copytree(library, tmp_path / "moved")
    index(tmp_path / "moved", collection=tmp_path / "c", encoder=FakeEncoder())
    shutil.rmtree(library)
    with pytest.raises(QueryError, match=rf"3 files of root {old} are indexed there already.* roots remove {old}"):
        move_root(tmp_path / "c", old, tmp_path / "moved")
    assert remove_root(tmp_path / "c", old) == 3
    hits = search("red", collection=opened(tmp_path))
    assert sorted(hit.uri for hit in hits) == sorted(str(file) for file in (tmp_path / "moved").rglob("*.*"))
    assert old not in opened(tmp_path).identity.roots
    assert verify(tmp_path / "c").problems == []


def test_an_unknown_root_cannot_be_removed(tmp_path, library):
    with pytest.raises(QueryError, match="Unknown root"):
        remove_root(tmp_path / "c", "nonsense")
    assert len(search("red", collection=opened(tmp_path))) == 3


@pytest.mark.parametrize("name", ["drive2", "ext é/usb"])
def test_a_drive_with_its_collection_can_be_searched_where_it_is_mounted_now(tmp_path, name):
    """Without indexing, which another machine may not even be able to do."""
    write_picture(tmp_path / "drive" / "pictures" / "red.png", "red")
    index(tmp_path / "drive" / "pictures", collection=tmp_path / "drive" / "c", encoder=FakeEncoder())
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / "drive").rename(tmp_path / name)
    found = open_collection(tmp_path / name / "c", encoder=FakeEncoder())
    assert search("red", collection=found)[0].uri == str(tmp_path / name / "pictures" / "red.png")
    report = index(tmp_path / name / "pictures", collection=tmp_path / name / "c", encoder=FakeEncoder())
    assert (report.num_unchanged, report.num_moved, report.num_new) == (1, 0, 0)


def test_a_copy_of_a_collection_keeps_the_roots_that_are_there(tmp_path, library):
    shutil.copytree(tmp_path / "c", tmp_path / "elsewhere" / "c")
    shutil.copytree(library, tmp_path / "elsewhere" / "library")
    found = open_collection(tmp_path / "elsewhere" / "c", encoder=FakeEncoder())
    assert list(found.identity.roots.values()) == [str(library)]
