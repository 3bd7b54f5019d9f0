"""`merge()` of two collections: roots, files in both, ids that collide, failures, thumbnails."""

import os
import shutil

import pytest

from indexer import IndexOptions, index
from indexer.errors import ExchangeError
from indexer.exchange.merge import merge
from search import IncompatibleError, NoCollectionError, open_collection, search
from search.collection.lance_tables import LanceTable
from search.collection.roots import move_root
from search.collection.thumbnails import thumbnail_of
from search.collection.verify import verify
from search.collection.writer_lock import WriterLock
from search.errors import LockedError
from search.schema import segment_id_of
from tests.fakes import FakeEncoder, rows_of, write_film, write_picture


def opened(path):
    return open_collection(path, encoder=FakeEncoder())


def rows(path, *columns):
    return rows_of(opened(path), ("uri", "kind", "sha256", "media_id", "root_id", "indexed_at", *columns))


def indexed(path, *folders, encoder=None, **options):
    index(list(folders), collection=path, encoder=encoder or FakeEncoder(), options=IndexOptions(**options))
    return path


@pytest.fixture
def anna(tmp_path):
    for colour in ("red", "green"):
        write_picture(tmp_path / "anna" / f"{colour}.png", colour)
    write_film(tmp_path / "anna" / "film.mp4", [("red", 3.0), ("blue", 3.0)])
    (tmp_path / "anna" / "broken.jpg").write_bytes(b"x")
    return indexed(tmp_path / "a", tmp_path / "anna")


@pytest.fixture
def ben(tmp_path):
    write_picture(tmp_path / "ben" / "white.png", "white")
    (tmp_path / "ben" / "broken too.jpg").write_bytes(b"x")
    return indexed(tmp_path / "b", tmp_path / "ben")


def state(path):
    return sorted((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in path.rglob("*"))


def test_files_failures_roots_and_thumbnails_of_both_are_there(anna, ben):
    expected = sorted([*rows(anna, "path"), *rows(ben, "path")], key=lambda row: row["segment_id"])
    before = state(ben)
    done = merge(ben, collection=anna)
    assert (done.num_new, done.num_replaced, done.num_known, done.num_failures, done.num_without_thumbnails) == (1, 0, 0, 1, 0)
    assert [{**row, "root_id": ""} for row in rows(anna, "path")] == [{**row, "root_id": ""} for row in expected]
    assert sorted(os.path.basename(uri) for uri in opened(anna).failures()["uri"].to_pylist()) == ["broken too.jpg", "broken.jpg"]
    assert {os.path.basename(root) for root in opened(anna).identity.roots.values()} == {"anna", "ben"}
    assert search("white", collection=opened(anna), k=1)[0].uri.endswith("ben/white.png")
    assert verify(anna).problems == []
    assert state(ben) == before


def test_a_second_merge_changes_nothing(anna, ben):
    merge(ben, collection=anna)
    before = rows(anna)
    done = merge(ben, collection=anna)
    assert (done.num_new, done.num_replaced, done.num_known, done.num_failures) == (0, 0, 1, 0)
    assert rows(anna) == before


def test_a_merge_into_a_new_collection_is_a_copy(anna, tmp_path):
    merge(anna, collection=tmp_path / "new")
    assert [{**row, "root_id": ""} for row in rows(tmp_path / "new")] == [{**row, "root_id": ""} for row in rows(anna)]
    assert verify(tmp_path / "new").problems == []


@pytest.mark.parametrize("here", ["older", "newer"])
def test_of_a_file_in_both_the_version_indexed_later_stays(anna, tmp_path, here):
    """The media id of this collection stays, because pages and scripts may hold it."""
    picture = tmp_path / "anna" / "red.png"
    other = tmp_path / "other"
    if here == "older":
        write_picture(picture, "black", size=(50, 60))
        indexed(other, tmp_path / "anna")
    else:
        indexed(other, tmp_path / "anna")
        write_picture(picture, "black", size=(50, 60))
        indexed(anna, tmp_path / "anna")
    before = {row["uri"]: row["media_id"] for row in rows(anna)}
    done = merge(other, collection=anna)
    assert (done.num_new, done.num_replaced) == (0, 3 if here == "older" else 2)
    (row,) = [row for row in rows(anna, "width", "frame_seconds") if row["uri"] == str(picture)]
    assert row["width"] == 50
    assert {row["uri"]: row["media_id"] for row in rows(anna)} == before
    assert len(opened(anna).identity.roots) == 1
    assert verify(anna).problems == []  # no thumbnail of the older version is left


def test_the_same_media_id_for_two_files_gives_the_new_one_another(anna, tmp_path):
    """A copy of a collection whose root moved: the same ids for other files."""
    shutil.copytree(anna, tmp_path / "copy")
    shutil.copytree(tmp_path / "anna", tmp_path / "moved")
    write_picture(tmp_path / "moved" / "new.png", "blue")
    (root_id,) = opened(anna).identity.roots
    move_root(tmp_path / "copy", root_id, tmp_path / "moved")
    indexed(tmp_path / "copy", tmp_path / "moved")
    done = merge(tmp_path / "copy", collection=anna)
    assert done.num_new == 4
    merged = rows(anna, "frame_seconds")
    media = {row["uri"]: row["media_id"] for row in merged}
    assert len(media) == len(set(media.values())) == 7
    film = [row for row in merged if row["uri"].endswith("moved/film.mp4")]
    assert [row["segment_id"] for row in film] == [segment_id_of(film[0]["media_id"], number) for number in range(3)]
    assert all(thumbnail_of(anna, row).exists() for row in merged)
    assert verify(anna).problems == []


def test_a_root_inside_a_root_needs_no_root_of_its_own(anna, tmp_path):
    write_picture(tmp_path / "anna" / "2020" / "blue.png", "blue")
    other = indexed(tmp_path / "other", tmp_path / "anna" / "2020")
    merge(other, collection=anna)
    assert list(opened(anna).identity.roots.values()) == [str(tmp_path / "anna")]
    assert "2020/blue.png" in [row["path"] for row in rows(anna, "path")]
    merge(anna, collection=other)  # the other way round, an outer root is added
    assert sorted(opened(other).identity.roots.values()) == [str(tmp_path / "anna"), str(tmp_path / "anna" / "2020")]
    for path in (anna, other):
        assert len({row["uri"] for row in rows(path)}) == 4
        assert verify(path).problems == []


def test_the_same_root_id_for_two_folders(anna, ben):
    """Format 1 numbered roots, so migrated collections share ids."""
    for path, name in ((anna, "anna"), (ben, "ben")):
        (root_id,) = opened(path).identity.roots
        text = (path / "collection.json").read_text()
        (path / "collection.json").write_text(text.replace(root_id, "00000001"))
        table = LanceTable(path, "segments")
        table._table.update(values={"root_id": "00000001"})
        failures = LanceTable(path, "failures")
        failures._table.update(values={"root_id": "00000001"})
        assert verify(path, repair=True).problems == [], name
    expected = {row["uri"] for row in [*rows(anna), *rows(ben)]}
    merge(ben, collection=anna)
    assert {row["uri"] for row in rows(anna)} == expected
    assert verify(anna).problems == []


def test_a_folder_that_lies_elsewhere_on_this_machine(anna, ben, tmp_path):
    shutil.move(tmp_path / "ben", tmp_path / "drive")
    merge(ben, collection=anna, moved={str(tmp_path / "ben"): str(tmp_path / "drive")})
    report = index([tmp_path / "anna", tmp_path / "drive"], collection=anna, encoder=FakeEncoder())
    assert (report.num_new, report.num_unchanged, report.num_gone) == (0, 4, 0)


def test_a_file_that_failed_here_and_is_indexed_there_is_no_failure_any_more(anna, tmp_path):
    write_picture(tmp_path / "anna" / "broken.jpg", "blue")
    other = indexed(tmp_path / "other", tmp_path / "anna")
    merge(other, collection=anna)
    assert opened(anna).failures().num_rows == 0
    assert "broken.jpg" in [row["path"] for row in rows(anna, "path")]


def test_a_file_that_is_indexed_here_and_failed_there_stays(anna, tmp_path):
    (tmp_path / "anna" / "red.png").write_bytes(b"x")
    other = indexed(tmp_path / "other", tmp_path / "anna")
    assert merge(other, collection=anna).num_failures == 0
    assert "red.png" in [row["path"] for row in rows(anna, "path")]


def test_missing_thumbnails_are_told(anna, ben):
    shutil.rmtree(ben / "thumbnails")
    assert merge(ben, collection=anna).num_without_thumbnails == 1
    assert verify(anna, repair=True).problems == []


def test_a_damaged_snapshot_of_the_other_is_rebuilt_elsewhere(anna, ben):
    shutil.rmtree(ben / "snapshots")
    before = state(ben)
    assert merge(ben, collection=anna).num_new == 1
    assert state(ben) == before


def test_what_cannot_be_merged_says_why(anna, ben, tmp_path):
    with pytest.raises(ExchangeError, match="is the collection to merge into"):
        merge(anna, collection=anna)
    with pytest.raises(NoCollectionError, match="no collection here"):
        merge(tmp_path / "nowhere", collection=anna)
    write_picture(tmp_path / "third" / "x.png")
    third = indexed(tmp_path / "t", tmp_path / "third", encoder=FakeEncoder(model_id="other@2"))
    before = rows(anna)
    with pytest.raises(IncompatibleError, match=r"made with another model \(fake@1, not other@2\)"):
        merge(third, collection=anna)
    with WriterLock(anna), pytest.raises(LockedError, match="is writing to it"):
        merge(ben, collection=anna)
    assert rows(anna) == before
    assert not (tmp_path / "nowhere").exists()


def test_a_collection_of_an_older_format_is_not_migrated_by_a_merge(anna, tmp_path):
    old = tmp_path / "old"
    shutil.unpack_archive("tests/collections/format-1/everyday.zip", old)
    (path,) = {file.parent for file in old.rglob("collection.json")}
    before = state(path)
    with pytest.raises(IncompatibleError, match=r"has an older format. Open it once with: coca-search status"):
        merge(path, collection=anna)
    assert state(path) == before
