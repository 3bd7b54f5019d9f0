"""Rows of other programs: clip-retrieval's folders as its 2.45 writes them, and Parquet with vectors."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer import index
from indexer.errors import ExchangeError
from indexer.exchange.read_in import ImportOptions, read_in
from search import IncompatibleError, open_collection, search
from search.collection.verify import verify
from tests.fakes import FakeEncoder, rows_of, write_film, write_picture

COLOURS = ("red", "green", "blue", "white", "yellow")


@pytest.fixture
def library(tmp_path):
    for colour in COLOURS:
        write_picture(tmp_path / "library" / f"{colour}.jpg", colour, size=(40, 30))
    return tmp_path / "library"


def vectors_of(*paths):
    return FakeEncoder().encode_images([str(path) for path in paths]) if paths else np.zeros((0, 48), np.float32)


def write_clip(folder, shards, *, dtype=np.float16, **columns):
    """Write what `clip-retrieval inference` writes: normalised float16, and a table made by pandas. `shards`: rows of each file."""
    for name in ("img_emb", "metadata"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number, (paths, vectors) in enumerate(shards):
        np.save(folder / "img_emb" / f"img_emb_{number}.npy", vectors.astype(dtype))
        values = {name: [value(path) for path in paths] for name, value in columns.items()}
        pq.write_table(
            pa.table({"image_path": [str(path) for path in paths], **values}), folder / "metadata" / f"metadata_{number}.parquet"
        )
    return folder


@pytest.fixture
def clip(tmp_path, library):
    paths = [library / f"{colour}.jpg" for colour in COLOURS]
    shards = [(paths[:3], vectors_of(*paths[:3])), (paths[3:], vectors_of(*paths[3:]))]
    return write_clip(tmp_path / "clip", shards, caption=lambda path: f"a {path.stem} picture")


def take(path, tmp_path, name="c", **options):
    return read_in(path, collection=tmp_path / name, encoder=FakeEncoder(), options=ImportOptions(**options))


def rows(tmp_path, name="c", columns=("uri", "kind", "width", "height", "sha256", "description", "mtime")):
    return rows_of(open_collection(tmp_path / name, encoder=FakeEncoder()), columns)


def test_pictures_become_the_rows_of_the_indexer_with_the_given_vectors(tmp_path, library, clip):
    done = take(clip, tmp_path)
    index(library, collection=tmp_path / "indexed", encoder=FakeEncoder())
    assert (done.num_new, done.skipped, done.num_without_thumbnails) == (5, {}, 0)
    mine, indexed = rows(tmp_path), rows(tmp_path, "indexed")
    for row, other in zip(mine, indexed, strict=True):
        np.testing.assert_allclose(row.pop("vector"), other.pop("vector"), atol=1e-3)
        assert row.pop("description") == f"a {row['uri'].split('/')[-1][:-4]} picture"
        assert other.pop("description") is None
    assert mine == indexed
    assert verify(tmp_path / "c").problems == []  # vectors of float16 have norm 1 again, and thumbnails are there
    assert index(library, collection=tmp_path / "c", encoder=FakeEncoder()).num_unchanged == 5
    assert search("blue", collection=open_collection(tmp_path / "c", encoder=FakeEncoder()), k=1)[0].uri == str(library / "blue.jpg")


def test_the_folder_of_the_pictures_becomes_a_root(tmp_path, library, clip):
    take(clip, tmp_path)
    assert list(open_collection(tmp_path / "c", encoder=FakeEncoder()).identity.roots.values()) == [str(library)]


def test_the_model_must_be_named(tmp_path, clip):
    with pytest.raises(ExchangeError, match=r"does not say which model made its vectors. Name it with --model"):
        read_in(clip, collection=tmp_path / "c")
    with pytest.raises(ExchangeError, match="its vectors have 48 numbers, and those of the model 16"):
        read_in(clip, collection=tmp_path / "c", encoder=FakeEncoder(embedding_width=16))
    take(clip, tmp_path)
    with pytest.raises(IncompatibleError, match=r"made with another model \(fake@1, not other@2\)"):
        read_in(clip, collection=tmp_path / "c", encoder=FakeEncoder(model_id="other@2"))


def test_rows_of_files_that_are_here_already_are_not_replaced(tmp_path, library, clip):
    index(library, collection=tmp_path / "c", encoder=FakeEncoder())
    before = rows(tmp_path)
    done = take(clip, tmp_path)
    assert (done.num_new, done.num_known) == (0, 5)
    assert rows(tmp_path) == before


def test_a_picture_named_twice_is_taken_once(tmp_path, library):
    red = library / "red.jpg"
    link = tmp_path / "link"
    link.symlink_to(library)
    names = [red, library / ".." / "library" / "red.jpg", link / "red.jpg"]
    done = take(write_clip(tmp_path / "clip", [(names, vectors_of(red, red, red))]), tmp_path)
    assert (done.num_new, done.num_known, [row["uri"] for row in rows(tmp_path)]) == (1, 2, [str(red)])


def test_what_cannot_be_read_is_left_out_and_told(tmp_path, library):
    red = library / "red.jpg"
    (library / "broken.jpg").write_bytes(b"x")
    film = write_film(library / "film.mp4", [("red", 1.0)])
    paths = [red, library / "broken.jpg", film, library / "gone.jpg", "a\0b"]
    done = take(write_clip(tmp_path / "clip", [(paths, vectors_of(red, red, red, red, red))]), tmp_path)
    assert done.num_new == 1
    assert done.skipped == {"not readable as a picture": 2, "not on this machine": 1, "without a path or address": 1}
    assert "broken.jpg: not a picture" in done.examples["not readable as a picture"]
    assert done.examples["not on this machine"] == str(library / "gone.jpg")
    assert verify(tmp_path / "c").problems == []


def test_pictures_that_lie_elsewhere_now(tmp_path, library):
    paths = [f"/cluster/images/{colour}.jpg" for colour in COLOURS]
    clip = write_clip(tmp_path / "clip", [(paths, vectors_of(*(library / f"{colour}.jpg" for colour in COLOURS)))])
    assert take(clip, tmp_path, moved={"/cluster/images": str(library)}).num_new == 5
    assert {row["uri"] for row in rows(tmp_path)} == {str(library / f"{colour}.jpg") for colour in COLOURS}


def test_pictures_of_the_web_are_kept_by_their_address(tmp_path, library):
    """img2dataset names a picture by a key, and gives its address."""
    red, blue = vectors_of(library / "red.jpg", library / "blue.jpg")
    url = {"000000000": "https://example.org/a//b/../red.jpg?x=1", "000000001": "https://example.net/blue.jpg"}.get
    clip = write_clip(tmp_path / "clip", [(["000000000", "000000001"], np.stack([red, blue]))], url=url, caption=str)
    assert take(clip, tmp_path, "none").skipped == {"not on this machine": 2}
    assert take(clip, tmp_path, keep_missing=True).num_new == 2
    assert take(clip, tmp_path, keep_missing=True).num_known == 2
    hit = search("blue", collection=open_collection(tmp_path / "c", encoder=FakeEncoder()), k=1)[0]
    assert (hit.uri, hit.description, hit.width, hit.size_bytes, hit.sha256) == ("https://example.net/blue.jpg", "000000001", 0, 0, "")
    assert {row["uri"] for row in rows(tmp_path)} == {url("000000000"), url("000000001")}
    hits = search("red", collection=open_collection(tmp_path / "c", encoder=FakeEncoder()), where="uri LIKE 'https://example.org/%'")
    assert [hit.uri for hit in hits] == [url("000000000")]
    assert verify(tmp_path / "c").problems == []


def test_a_missing_file_that_was_kept_is_indexed_when_it_is_there(tmp_path, library):
    late = library / "late.jpg"
    clip = write_clip(tmp_path / "clip", [([library / "red.jpg", late], vectors_of(library / "red.jpg", library / "blue.jpg"))])
    assert take(clip, tmp_path, keep_missing=True).num_without_thumbnails == 1
    write_picture(late, "blue", size=(33, 22))
    report = index(library, collection=tmp_path / "c", encoder=FakeEncoder())
    assert (report.num_changed, report.num_unchanged) == (1, 1)
    (row,) = [row for row in rows(tmp_path) if row["uri"] == str(late)]
    assert (row["width"], len(row["sha256"])) == (33, 64)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8"])
def test_every_floating_point_type_is_read(tmp_path, library, dtype):
    red = library / "red.jpg"
    take(write_clip(tmp_path / "clip", [([red], 5 * vectors_of(red))], dtype=dtype), tmp_path)
    np.testing.assert_allclose(rows(tmp_path)[0]["vector"], vectors_of(red)[0], atol=1e-3)


def test_a_parquet_file_of_another_program(tmp_path, library):
    paths = [library / f"{colour}.jpg" for colour in COLOURS]
    table = pa.table({"path": [str(path) for path in paths], "embedding": pa.array(vectors_of(*paths).astype(float).tolist())})
    pq.write_table(table, tmp_path / "rows.parquet")
    assert take(tmp_path / "rows.parquet", tmp_path).num_new == 5
    pq.write_table(table.drop_columns(["path"]), tmp_path / "rows.parquet")
    with pytest.raises(ExchangeError, match="it has no column of paths"):
        take(tmp_path / "rows.parquet", tmp_path, "d")


DAMAGE = {
    "pickled objects": lambda file: np.save(file, np.array([{"a": 1}, {}], object), allow_pickle=True),
    "whole numbers": lambda file: np.save(file, np.ones((2, 48), np.int8)),
    "one dimension": lambda file: np.save(file, np.ones(96, np.float16)),
    "another width": lambda file: np.save(file, np.ones((2, 47), np.float16)),
    "more vectors than rows": lambda file: np.save(file, np.ones((3, 48), np.float16)),
    "fewer vectors than rows": lambda file: np.save(file, np.ones((1, 48), np.float16)),
    "not finite": lambda file: np.save(file, np.full((2, 48), np.nan, np.float16)),
    "too large for float32": lambda file: np.save(file, np.full((2, 48), 1e300)),
    "zero": lambda file: np.save(file, np.zeros((2, 48), np.float16)),
    "truncated": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "a header of a huge array": lambda file: file.write_bytes(file.read_bytes().replace(b"(2, 48)", b"(2000000000000, 48)", 1)),
    "a header that does not end": lambda file: file.write_bytes(file.read_bytes().replace(b"48)", b"48(", 1)),
    "not there": lambda file: file.unlink(),
    "two of a number": lambda file: np.save(file.with_name("other_1.npy"), np.ones((2, 48), np.float16)),
    "no number": lambda file: np.save(file.with_name("img_emb.npy"), np.ones((2, 48), np.float16)),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_vectors_are_refused_and_nothing_is_made(tmp_path, clip, name):
    DAMAGE[name](clip / "img_emb" / "img_emb_1.npy")
    with pytest.raises(ExchangeError, match="clip"):
        take(clip, tmp_path)
    assert not (tmp_path / "c").exists()
