"""The files of a collection are replaced under an open reader: an answer comes from one collection, or an error says what happened."""

import shutil

import pytest

from indexer import index
from search import IncompatibleError, NoCollectionError, SearchError, open_collection, search
from search.collection import Collection
from search.collection.lance_tables import SEGMENTS, LanceTable
from tests.fakes import COLOURS, FakeEncoder, write_picture


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two collections of as many pictures, at the same version."""
    folder = tmp_path_factory.mktemp("replaced")
    for name in ("first", "second"):
        for colour in list(COLOURS)[:4]:
            write_picture(folder / f"library-{name}" / f"{name}-{colour}.png", colour)
        index(folder / f"library-{name}", collection=folder / name, encoder=FakeEncoder())
    return folder


@pytest.fixture
def reader(two, tmp_path):
    """A reader of a copy of the first collection."""
    return open_collection(shutil.copytree(two / "first", tmp_path / "collection"), encoder=FakeEncoder())


def names(collection: Collection, **options):
    return {hit.path.split("-")[0] for hit in search("red", collection=collection, **options)}


@pytest.mark.parametrize("backwards", [False, True])
def test_a_backup_restored_file_by_file_is_never_mixed_with_what_was_there(two, reader, backwards):
    files = sorted(file.relative_to(two / "second") for file in (two / "second").rglob("*") if file.is_file())
    for file in reversed(files) if backwards else files:
        target = reader.path / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(two / "second" / file, target.with_name("arriving"))
        target.with_name("arriving").replace(target)
        try:
            reader.refresh()
            assert names(reader) in ({"first"}, {"second"})
        except SearchError:
            pass
    for file in set(reader.path.rglob("*")) - {reader.path / each for each in files}:
        if file.is_file():  # as `rsync --delete` does at the end
            file.unlink()
    reader.refresh()
    assert names(reader) == names(reader, where="width > 0") == {"second"}


@pytest.mark.parametrize("name", ["rows.arrow", "vectors.npy", "statistics.json"])
def test_a_snapshot_file_of_another_collection_is_not_used(two, reader, name):
    (mine,), (other,) = reader.path.glob(f"snapshots/*/{name}"), (two / "second").glob(f"snapshots/*/{name}")
    shutil.copy(other, mine)
    again = open_collection(reader.path, encoder=FakeEncoder())
    assert names(again) == {"first"}
    assert search("red", collection=again, k=1)[0].similarity == pytest.approx(1.0)


def test_a_filter_on_a_replaced_collection_answers_from_the_open_one_until_it_is_refreshed(two, reader):
    shutil.rmtree(reader.path)
    shutil.copytree(two / "second", reader.path)
    assert names(reader, where="width > 0") == {"first"}
    reader.refresh()
    assert names(reader, where="width > 0") == {"second"}


def test_a_filter_on_a_removed_collection_does_not_bring_its_folder_back(reader):
    shutil.rmtree(reader.path)
    assert names(reader, where="width > 0") == {"first"}
    with pytest.raises(SearchError, match="missing"):
        reader.failures()
    assert not reader.path.exists()
    with pytest.raises(NoCollectionError):
        reader.refresh()


@pytest.mark.parametrize("table", ["segments", "failures"])
@pytest.mark.parametrize("pattern", ["_versions/*", "data/*"])
def test_a_damaged_table_is_named_in_a_sentence(reader, table, pattern):
    files = list((reader.path / f"{table}.lance").glob(pattern))
    if not files:
        pytest.skip("an empty table has no such file")
    for file in files:
        with file.open("r+b") as stream:
            stream.truncate(20)
    with pytest.raises(IncompatibleError, match=f"the table {table} cannot be read"):
        LanceTable(reader.path, table).read([*LanceTable(reader.path, table).schema.names])
    assert names(reader) == {"first"}


def test_errors_of_lance_are_told_without_places_in_its_source(reader):
    with pytest.raises(IncompatibleError) as told:
        LanceTable(reader.path, SEGMENTS).pin(99)
    assert ".rs" not in str(told.value)
