"""`export()` writes files that other programs read, and nothing before all of it is there."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer import index
from indexer.errors import ExchangeError
from indexer.exchange import export as export_module
from indexer.exchange.export import export
from search import QueryError, open_collection
from search.schema import Row, columns_of
from tests.fakes import FakeEncoder, rows_of, write_film, write_picture


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    for colour in ("red", "green", "blue"):
        write_picture(folder / "library" / f"{colour}.png", colour)
    write_film(folder / "library" / "film.mp4", [("red", 3.0), ("blue", 3.0)])
    index(folder / "library", collection=folder / "c", encoder=FakeEncoder())
    return folder / "c"


def rows_in(collection):
    return rows_of(open_collection(collection, encoder=FakeEncoder()), ("uri", "kind", "sha256", "mtime"))


def test_a_parquet_file_holds_every_column_the_uri_and_the_vector(collection, tmp_path):
    done = export(tmp_path / "rows.parquet", collection=collection)
    table = pq.read_table(tmp_path / "rows.parquet")
    assert table.column_names == [*(each.name for each in columns_of(Row)), "vector"]
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 48)
    found = [{name: row[name] for name in ("segment_id", "uri", "kind", "sha256", "mtime", "vector")} for row in table.to_pylist()]
    assert found == rows_in(collection)
    assert (done.num_rows, done.files) == (len(found), (tmp_path / "rows.parquet",))


def test_the_schema_names_the_model_and_the_roots(collection, tmp_path):
    export(tmp_path / "rows.parquet", collection=collection)
    about = json.loads(pq.read_schema(tmp_path / "rows.parquet").metadata[b"coca_search"])
    assert (about["model_id"], about["preprocessing_id"], about["embedding_width"], about["format_version"]) == ("fake@1", "fake-4", 48, 2)
    assert list(about["roots"].values()) == [str(collection.parent / "library")]


def test_the_layout_of_clip_retrieval(collection, tmp_path, monkeypatch):
    """The names that `clip-retrieval inference` gives, numbered with zeros so that their order as text is that of the rows."""
    monkeypatch.setattr(export_module, "ROWS_PER_FILE", 4)
    export(tmp_path / "out", collection=collection, format="clip-retrieval")
    files = sorted(str(path.relative_to(tmp_path / "out")) for path in tmp_path.glob("out/*/*"))
    assert files == ["img_emb/img_emb_0.npy", "img_emb/img_emb_1.npy", "metadata/metadata_0.parquet", "metadata/metadata_1.parquet"]
    vectors = np.concatenate([np.load(file) for file in sorted(tmp_path.glob("out/img_emb/*"))])
    metadata = [row for file in sorted(tmp_path.glob("out/metadata/*")) for row in pq.read_table(file).to_pylist()]
    expected = rows_in(collection)
    assert (vectors.dtype, vectors.tolist()) == (np.dtype("<f4"), [row["vector"] for row in expected])
    assert [row["uri"] for row in metadata] == [row["uri"] for row in expected]
    for row in metadata:
        assert row["caption"] == ""
        assert row["image_path"] == row["uri"] if row["kind"] == "image" else row["image_path"].endswith(".webp")


def test_the_npy_header_is_the_one_that_embedding_reader_parses(collection, tmp_path):
    """It reads the first line with regular expressions: `'descr': '<f4'` and `'shape': (N, E)`."""
    export(tmp_path / "out", collection=collection, format="clip-retrieval", kinds=["image"])
    head = (tmp_path / "out" / "img_emb" / "img_emb_0.npy").read_bytes()[:128]
    assert head.startswith(b"\x93NUMPY\x01\x00")
    assert b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 48), }" in head
    assert head.endswith(b"\n")


def test_a_filter_and_kinds_choose_the_rows(collection, tmp_path):
    done = export(tmp_path / "a", collection=collection, where="kind = 'image' OR end_seconds > 4", kinds=["image", "shot"])
    assert sorted(pq.read_table(tmp_path / "a")["kind"].to_pylist()) == ["image", "image", "image", "shot"]
    assert (done.num_rows, [file.name for file in done.files]) == (4, ["rows_0.parquet"])


def test_what_exists_is_not_overwritten(collection, tmp_path):
    (tmp_path / "a.parquet").write_text("mine")
    write_picture(tmp_path / "folder" / "x.png")
    for out in ("a.parquet", "folder"):
        with pytest.raises(ExchangeError, match=f"{out}: exists already. Give a new"):
            export(tmp_path / out, collection=collection)
    assert (tmp_path / "a.parquet").read_text() == "mine"


def test_nothing_to_export_is_an_error(collection, tmp_path):
    with pytest.raises(QueryError, match="nothing to export"):
        export(tmp_path / "a", collection=collection, where="width > 100000")
    with pytest.raises(QueryError, match=r"Unknown kind or format \(film\). Kinds: image, shot, clip"):
        export(tmp_path / "a", collection=collection, kinds=["film"])
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(collection, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_module, "_write_clip_retrieval", full)
    with pytest.raises(OSError, match="No space left"):
        export(tmp_path / "a", collection=collection, format="clip-retrieval")
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_is_not_utf8_is_escaped():
    assert export_module._text("/a/\udcff.png") == "/a/\\udcff.png"
