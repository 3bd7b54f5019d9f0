"""`read_in()` takes back what `export` wrote, and changes nothing if a file cannot be imported."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer import index
from indexer.errors import ExchangeError
from indexer.exchange.export import export
from indexer.exchange.read_in import ImportOptions, read_in
from search import IncompatibleError, open_collection, search
from search.collection.thumbnails import thumbnail_of
from search.collection.verify import verify
from search.schema import Row, columns_of
from tests.fakes import FakeEncoder, rows_of, write_film, write_picture

EVERY_COLUMN = tuple(each.name for each in columns_of(Row))
NUM_FILES = 5


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("read-in")
    for colour in ("red", "green", "blue", "white"):
        write_picture(folder / "library" / f"{colour} été.png", colour)
    write_film(folder / "library" / "film.mp4", [("red", 3.0), ("blue", 3.0)])
    index(folder / "library", collection=folder / "c", encoder=FakeEncoder())
    export(folder / "rows.parquet", collection=folder / "c")
    export(folder / "clip", collection=folder / "c", format="clip-retrieval")
    return folder


def opened(path):
    return open_collection(path, encoder=FakeEncoder())


def rows_without_roots(path):
    """Every column of a collection. The id of a root is random."""
    return [{**row, "root_id": ""} for row in rows_of(opened(path), EVERY_COLUMN)]


def hits(path):
    return [(hit.uri, hit.start_seconds, hit.similarity) for hit in search("red", collection=opened(path), k=10)]


@pytest.mark.parametrize("name", ["rows.parquet", "clip"])
def test_an_exported_collection_comes_back_with_the_same_rows_hits_and_thumbnails(made, tmp_path, name):
    done = read_in(made / name, collection=tmp_path / "c")  # no model is needed, and none is there
    assert (done.num_new, done.num_replaced, done.num_known, done.num_without_thumbnails) == (NUM_FILES, 0, 0, 0)
    assert rows_without_roots(tmp_path / "c") == rows_without_roots(made / "c")
    assert hits(tmp_path / "c") == hits(made / "c")
    assert verify(tmp_path / "c").problems == []
    report = index(made / "library", collection=tmp_path / "c", encoder=FakeEncoder())
    assert (report.num_unchanged, report.num_new) == (NUM_FILES, 0)


def test_an_import_of_what_is_there_already_changes_nothing(made, tmp_path):
    shutil.copytree(made / "c", tmp_path / "c")
    done = read_in(made / "rows.parquet", collection=tmp_path / "c")
    assert (done.num_new, done.num_known) == (0, NUM_FILES)
    assert rows_of(opened(tmp_path / "c"), EVERY_COLUMN) == rows_of(opened(made / "c"), EVERY_COLUMN)


def test_an_import_of_a_part_adds_the_other_files_only(made, tmp_path):
    export(tmp_path / "films", collection=made / "c", kinds=["shot", "clip"])
    read_in(tmp_path / "films", collection=tmp_path / "c")
    done = read_in(made / "clip", collection=tmp_path / "c")
    assert (done.num_new, done.num_known) == (NUM_FILES - 1, 1)
    assert len(rows_without_roots(tmp_path / "c")) == len(rows_without_roots(made / "c"))


def test_files_that_lie_elsewhere_now(made, tmp_path):
    shutil.copytree(made / "library", tmp_path / "here")
    options = ImportOptions(moved={str(made / "library"): str(tmp_path / "here")})
    done = read_in(made / "rows.parquet", collection=tmp_path / "c", options=options)
    assert done.num_without_thumbnails == 0
    assert all(row["uri"].startswith(str(tmp_path / "here")) for row in rows_without_roots(tmp_path / "c"))
    assert list(opened(tmp_path / "c").identity.roots.values()) == [str(tmp_path / "here")]


def test_without_the_files_rows_lack_only_thumbnails(made, tmp_path):
    options = ImportOptions(moved={str(made / "library"): "/no/such/folder"})
    done = read_in(made / "rows.parquet", collection=tmp_path / "c", options=options)
    assert (done.num_new, done.num_without_thumbnails) == (NUM_FILES, NUM_FILES)
    assert [hit[2] for hit in hits(tmp_path / "c")] == [hit[2] for hit in hits(made / "c")]


def test_thumbnails_can_be_made_later(made, tmp_path):
    done = read_in(made / "rows.parquet", collection=tmp_path / "c", options=ImportOptions(thumbnails=False))
    assert done.num_without_thumbnails == NUM_FILES
    assert verify(tmp_path / "c", repair=True).problems == []
    assert all(thumbnail_of(tmp_path / "c", row).exists() for row in rows_without_roots(tmp_path / "c"))


def test_a_file_that_changed_since_gets_no_thumbnail_of_other_pixels(made, tmp_path):
    shutil.copytree(made / "library", tmp_path / "here")
    write_picture(tmp_path / "here" / "red été.png", "black")
    options = ImportOptions(moved={str(made / "library"): str(tmp_path / "here")})
    assert read_in(made / "rows.parquet", collection=tmp_path / "c", options=options).num_without_thumbnails == 1


def test_rows_of_another_model_are_refused(made, tmp_path):
    write_picture(tmp_path / "library" / "x.png")
    index(tmp_path / "library", collection=tmp_path / "c", encoder=FakeEncoder(model_id="other@2"))
    with pytest.raises(IncompatibleError, match=r"made with another model \(other@2, not fake@1\)"):
        read_in(made / "rows.parquet", collection=tmp_path / "c")
    with pytest.raises(IncompatibleError, match=r"rows.parquet: made with another model \(fake@1, not other@2\)"):
        read_in(made / "rows.parquet", collection=tmp_path / "d", encoder=FakeEncoder(model_id="other@2"))
    assert not (tmp_path / "d").exists()


def changed(table, name, values):
    position = table.schema.get_field_index(name)
    field = table.schema.field(name)
    new = pa.field(name, values.type if isinstance(values, pa.Array) else field.type)
    return table.set_column(position, new, values if isinstance(values, pa.Array) else pa.array(values, field.type))


def first(table, name, value):
    return changed(table, name, [value, *table[name].to_pylist()[1:]])


def with_about(table, **values):
    about = json.loads(table.schema.metadata[b"coca_search"]) | values
    return table.replace_schema_metadata({b"coca_search": json.dumps(about).encode()})


HOSTILE = {
    "not a number": lambda table: first(table, "vector", [np.nan] * 48),
    "infinite": lambda table: first(table, "vector", [np.inf] + [0.0] * 47),
    "a zero vector": lambda table: first(table, "vector", [0.0] * 48),
    "no vector": lambda table: first(table, "vector", None),
    "another width": lambda table: changed(table, "vector", pa.array([[1.0] * 7] * len(table))),
    "vectors of texts": lambda table: changed(table, "vector", pa.array(["x"] * len(table))),
    "no column of vectors": lambda table: table.drop_columns(["vector"]),
    "no hash": lambda table: table.drop_columns(["sha256"]),
    "a hash that is a path": lambda table: first(table, "sha256", "../../../../etc/passwd"),
    "a path with NUL": lambda table: first(table, "path", "a\0b.png"),
    "an unknown kind": lambda table: first(table, "kind", "film"),
    "an unknown root": lambda table: first(table, "root_id", "nowhere"),
    "a time that is no number": lambda table: changed(table, "frame_seconds", [np.nan] * len(table)),
    "an impossible date": lambda table: changed(table, "taken_at", pa.array([2**62] * len(table), pa.timestamp("us", "UTC"))),
    "rows in another order": lambda table: table.take(list(range(len(table)))[::-1]),
    "a row twice": lambda table: pa.concat_tables([table, table]),
    "an id of another file": lambda table: first(table, "media_id", 7),
    "a relative root": lambda table: with_about(table, roots={"x": "../.."}),
    "roots that are a list": lambda table: with_about(table, roots=["/a"]),
    "a huge width": lambda table: with_about(table, embedding_width=10**12),
    "no model": lambda table: with_about(table, model_id=None),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_with_values_that_no_collection_may_hold_changes_nothing(made, tmp_path, name):
    shutil.copytree(made / "c", tmp_path / "c")
    pq.write_table(HOSTILE[name](pq.read_table(made / "rows.parquet")), tmp_path / "hostile.parquet")
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "c").rglob("*"))
    for collection in ("c", "new"):
        with pytest.raises(ExchangeError, match=r"hostile.parquet: cannot be imported \(.+\). Nothing was changed."):
            read_in(tmp_path / "hostile.parquet", collection=tmp_path / collection)
    assert sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "c").rglob("*")) == before
    assert not (tmp_path / "new").exists()


DAMAGE = {
    "truncated": lambda file: file.write_bytes(file.read_bytes()[:-100]),
    "cut in the middle": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "empty": lambda file: file.write_bytes(b""),
    "another file": lambda file: file.write_bytes(b"<html>" * 1000),
}


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("part", ["rows.parquet", "clip/metadata/metadata_0.parquet", "clip/img_emb/img_emb_0.npy"])
def test_a_damaged_file_is_named_and_nothing_is_made(made, tmp_path, name, part):
    shutil.copytree(made / "clip", tmp_path / "clip")
    shutil.copy(made / "rows.parquet", tmp_path)
    DAMAGE[name](tmp_path / part)
    with pytest.raises(ExchangeError, match=f"{part}: cannot be imported"):
        read_in(tmp_path / part.split("/")[0], collection=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_newer_format_and_a_mixture_are_refused(made, tmp_path):
    table = pq.read_table(made / "rows.parquet")
    pq.write_table(with_about(table, format_version=3), tmp_path / "a.parquet")
    with pytest.raises(IncompatibleError, match="Format 3 is newer"):
        read_in(tmp_path, collection=tmp_path / "c")
    pq.write_table(with_about(table, model_id="other@2"), tmp_path / "a.parquet")
    pq.write_table(table, tmp_path / "b.parquet")
    with pytest.raises(ExchangeError, match="its files come from different collections"):
        read_in(tmp_path, collection=tmp_path / "c")
    with pytest.raises(ExchangeError, match="no files to import"):
        read_in(tmp_path / "nowhere", collection=tmp_path / "c")


def test_a_table_that_another_program_rewrote_is_still_taken(made, tmp_path):
    """A program that knows no fixed lists writes vectors as plain lists of doubles, and strings with 64-bit offsets."""
    table = pq.read_table(made / "rows.parquet")
    table = changed(table, "vector", pa.array(table["vector"].to_pylist(), pa.list_(pa.float64())))
    table = changed(table, "path", pa.array(table["path"].to_pylist(), pa.large_string())).drop_columns(["uri", "camera"])
    pq.write_table(table, tmp_path / "rows.parquet")
    read_in(tmp_path / "rows.parquet", collection=tmp_path / "c")
    assert rows_without_roots(tmp_path / "c") == rows_without_roots(made / "c")


@pytest.mark.parametrize(("chosen", "num_changed"), [({"kinds": ("clip",)}, 1), ({"where": "kind <> 'clip'"}, 1), ({}, 0)])
def test_a_film_of_which_only_a_part_was_exported_is_read_again_by_the_next_run(made, tmp_path, chosen, num_changed):
    export(tmp_path / "some.parquet", collection=made / "c", **chosen)
    read_in(tmp_path / "some.parquet", collection=tmp_path / "c", encoder=FakeEncoder())
    report = index(made / "library", collection=tmp_path / "c", encoder=FakeEncoder())
    assert report.num_changed == num_changed
    assert len(rows_of(opened(tmp_path / "c"))) == len(rows_of(opened(made / "c")))
    assert index(made / "library", collection=tmp_path / "c", encoder=FakeEncoder()).num_unchanged == NUM_FILES
