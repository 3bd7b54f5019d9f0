"""`export()`: rows and vectors of a collection as files that other programs read: Parquet, or the folders of clip-retrieval.

The clip-retrieval layout is what `clip-retrieval inference` writes and `clip-retrieval index`, autofaiss and embedding-reader read:
`img_emb/img_emb_N.npy` with the vectors, and `metadata/metadata_N.parquet` with one row for each of them.
"""

import os
import secrets
import shutil
from collections.abc import Collection as Several
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from indexer.errors import ExchangeError
from indexer.exchange.about import about
from indexer.exchange.rows import batches_of
from media.atomic_write import PARTIAL
from search.collection.lance_tables import in_list
from search.collection.reader import open_collection
from search.collection.snapshot import Snapshot
from search.collection.thumbnails import thumbnail_of
from search.errors import QueryError
from search.schema import KINDS, Kind, Row, arrow_fields, columns_of

Format = Literal["parquet", "clip-retrieval"]
FORMATS: tuple[Format, ...] = get_args(Format)
ROWS_PER_FILE = 250_000


@dataclass(frozen=True)
class Exported:
    """What `export` wrote."""

    num_rows: int
    files: tuple[Path, ...]


def export(
    out: str | os.PathLike[str],
    *,
    collection: str | os.PathLike[str] | None = None,
    format: Format = "parquet",  # noqa: A002 - the name of the option
    where: str | None = None,
    kinds: Several[Kind] = KINDS,
) -> Exported:
    """Write rows and vectors of a collection. Nothing appears at `out` before all of it is written.

    Args:
        out: a new folder; or for Parquet, a new file whose name ends with `.parquet`.
        collection: the folder of the collection; None for the user's default.
        format: "parquet": one table with all columns, `uri` and `vector`. "clip-retrieval": its folders `img_emb` and `metadata`.
        where: a filter, an expression over the columns of docs/collection.md.
        kinds: the kinds of segments to write.

    Raises:
        ExchangeError: `out` exists. QueryError: a bad filter, or nothing to write.
        NoCollectionError, IncompatibleError: the collection cannot be opened.
    """
    out = Path(out)
    if unknown := {*kinds} - {*KINDS} or {format} - {*FORMATS}:
        raise QueryError(
            f"Unknown kind or format ({', '.join(sorted(unknown))}). Kinds: {', '.join(KINDS)}. Formats: {', '.join(FORMATS)}."
        )
    snapshot = open_collection(collection).snapshot
    ids = _chosen(snapshot, where, frozenset(kinds))
    if not len(ids):
        raise QueryError("There is nothing to export: the collection is empty, or nothing in it matches the filter and the kinds.")
    write = _write_parquet if format == "parquet" else _write_clip_retrieval
    single = format == "parquet" and out.suffix == ".parquet"
    rows_per_file = len(ids) if single else ROWS_PER_FILE
    starts = range(0, len(ids), rows_per_file)
    metadata = about(snapshot.identity, is_part=len(ids) < len(snapshot.segment_ids))
    with _appears_whole(out, single=single) as folder:
        for number, start in enumerate(starts):
            chosen = ids[start : start + rows_per_file]
            write(folder, str(number).zfill(len(str(len(starts) - 1))), snapshot, chosen, metadata)
    return Exported(len(ids), (out,) if single else tuple(sorted(path for path in out.rglob("*") if path.is_file())))


def _chosen(snapshot: Snapshot, where: str | None, kinds: frozenset[Kind]) -> NDArray[np.int64]:
    ids = np.sort(snapshot.segment_ids if where is None else snapshot.filtered(where))
    return ids if kinds == {*KINDS} else np.intersect1d(ids, snapshot.filtered(in_list("kind", sorted(kinds))))


def _write_parquet(folder: Path, number: str, snapshot: Snapshot, ids: NDArray[np.int64], metadata: Mapping[bytes, bytes]) -> None:
    width = snapshot.identity.embedding_width
    schema = pa.schema([*arrow_fields(columns_of(Row)), pa.field("vector", pa.list_(pa.float32(), width))], metadata)
    with pq.ParquetWriter(folder / f"rows_{number}.parquet", schema, write_page_checksum=True) as file:
        for rows, vectors in batches_of(snapshot, ids):
            file.write_table(_table(rows, schema, vector=pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), width)))


def _write_clip_retrieval(folder: Path, number: str, snapshot: Snapshot, ids: NDArray[np.int64], metadata: Mapping[bytes, bytes]) -> None:
    strings = [pa.field("image_path", pa.string()), pa.field("caption", pa.string())]
    schema = pa.schema([*strings, *arrow_fields(columns_of(Row))], metadata)
    for name in ("img_emb", "metadata"):
        (folder / name).mkdir(exist_ok=True)
    with (
        (folder / "img_emb" / f"img_emb_{number}.npy").open("wb") as vectors_file,
        pq.ParquetWriter(folder / "metadata" / f"metadata_{number}.parquet", schema, write_page_checksum=True) as metadata_file,
    ):
        _write_npy_header(vectors_file, (len(ids), snapshot.identity.embedding_width))
        for rows, vectors in batches_of(snapshot, ids):
            vectors_file.write(vectors.astype("<f4").tobytes())
            metadata_file.write_table(_table([{**row, **_for_clip_retrieval(snapshot.path, row)} for row in rows], schema))


def _for_clip_retrieval(collection: Path, row: Mapping[str, Any]) -> dict[str, str]:
    """The columns that clip-retrieval shows. It opens `image_path` as a picture, so a moment of a video gets its thumbnail."""
    path = row["uri"] if row["kind"] == "image" else str(thumbnail_of(collection.absolute(), row))
    return {"image_path": _text(path), "caption": row["description"] or row["title"] or ""}


def _write_npy_header(file: BinaryIO, shape: tuple[int, int]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})


def _table(rows: list[dict[str, Any]], schema: pa.Schema, **arrays: pa.Array) -> pa.Table:
    plain = pa.schema([field for field in schema if field.name not in arrays])
    table = pa.Table.from_pylist([{**row, "uri": _text(row["uri"])} for row in rows], schema=plain)
    for name, values in arrays.items():
        table = table.append_column(schema.field(name), values)
    return table.replace_schema_metadata(schema.metadata)


def _text(path: str) -> str:
    """A path as UTF-8 can hold it: names of files may be other bytes."""
    return path.encode(errors="backslashreplace").decode()


@contextmanager
def _appears_whole(out: Path, *, single: bool) -> Iterator[Path]:
    """A folder for the files of `out`. They move there when the block ends, and are removed if it raises."""
    if out.exists() and not (out.is_dir() and not single and not any(out.iterdir())):
        raise ExchangeError(f"{out}: exists already. Give a new {'file' if single else 'folder'}.")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f"{out.name}.{secrets.token_hex(8)}{PARTIAL}")
    partial.mkdir()
    try:
        yield partial
        (next(partial.iterdir()) if single else partial).rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
