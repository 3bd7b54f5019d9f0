"""Reads files to import, and checks all that a writer relies on. Two layouts: Parquet with vectors, and the folders of clip-retrieval.

Files that `export` wrote carry every column and their model. Files of other programs carry only paths and vectors.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from indexer.errors import ExchangeError
from indexer.exchange.about import identity_of, is_part
from indexer.exchange.rows import ROWS_PER_BATCH, Batch
from search.collection.identity import Identity
from search.schema import KINDS, MAX_MEDIA_ID, Row, arrow_fields, media_id_of_segment, stored_columns

_VECTOR_COLUMNS = ("vector", "embedding", "embeddings")
_PATH_COLUMNS = ("image_path", "uri", "path", "url")
_FOREIGN_COLUMNS = tuple(pa.field(name, pa.string()) for name in (*_PATH_COLUMNS, "caption"))
_TIMES = ("start_seconds", "end_seconds", "frame_seconds", "duration_seconds")
_UNIT_TOLERANCE = 1e-5
# What NumPy, pyarrow and json raise for damaged files. NumPy parses the header of a file as Python.
_DAMAGE = (OSError, ValueError, TypeError, KeyError, EOFError, OverflowError, RecursionError, SyntaxError, TokenError, pa.ArrowException)
_NUMBER = re.compile(r"(\d+)\.\w+")
_EXPECTED = "Give a Parquet file, a folder of them, or a folder with `img_emb` and `metadata` of clip-retrieval."


@dataclass(frozen=True)
class Files:
    """Files to import.

    Attributes:
        parts: a Parquet file each, and the npy file with its vectors, or None if the Parquet file holds them.
        identity: the collection that they were exported from; None if another program wrote them.
        is_part: whether segments of films may be missing.
    """

    parts: tuple[tuple[Path, Path | None], ...]
    identity: Identity | None
    is_part: bool = False


def find_files(path: Path) -> Files:
    """The files of either layout at `path`. Raises ExchangeError, IncompatibleError."""
    if (path / "img_emb").is_dir():
        parts = _pairs(path)
    else:
        parts = [(file, None) for file in ([path] if path.is_file() else sorted(path.glob("*.parquet")))]
    if not parts:
        raise ExchangeError(f"{path}: no files to import. {_EXPECTED}")
    identities, are_parts = [], []
    for file, _ in parts:
        with _named(file):
            schema = pq.read_schema(file)
            identities.append(identity_of(schema))
            are_parts.append(is_part(schema))
    if any(identity != identities[0] for identity in identities):
        raise ExchangeError(f"{path}: its files come from different collections, or only some from coca-search. Import them one by one.")
    return Files(tuple(parts), identities[0], any(are_parts))


def read_batches(files: Files, width: int) -> Iterator[Batch]:
    """The rows of the files and their vectors, float32 (n, E), each of L2 norm 1. `width` is E.

    Rows that `export` wrote have all columns of `Row` and are sorted by segment id; others have the columns of `_FOREIGN_COLUMNS`.

    Raises:
        ExchangeError: a damaged file, or a value that no collection may hold. The message names the file.
    """
    last_id = -1
    for file, vectors_file in files.parts:
        with _named(file if vectors_file is None else vectors_file):
            given = None if vectors_file is None else _open_npy(vectors_file, width)
        with _named(file):
            start = 0
            for table in _tables(file, files.identity is not None, given):
                stop = start + table.num_rows
                vectors = _vectors_of_column(table, width) if given is None else given[start:stop]
                if files.identity is not None:
                    last_id = _check(table, files.identity, last_id)
                rows = table.select([name for name in table.column_names if name != "vector"]).to_pylist()
                yield rows, _unit(vectors, start)
                start = stop


def _pairs(path: Path) -> list[tuple[Path, Path | None]]:
    """The files of clip-retrieval by the number in their names."""
    metadata, vectors = _by_number(path, "metadata/*.parquet"), _by_number(path, "img_emb/*.npy")
    if lonely := sorted(metadata.keys() ^ vectors.keys()):
        where = "metadata" if lonely[0] in metadata else "img_emb"
        raise ExchangeError(f"{path}: file number {lonely[0]} is in `{where}` only. Each file in `img_emb` needs one in `metadata`.")
    return [(metadata[number], vectors[number]) for number in sorted(metadata)]


def _by_number(path: Path, pattern: str) -> dict[int, Path]:
    files = sorted(path.glob(pattern))
    found = {int(match[1]): file for file in files if (match := _NUMBER.search(file.name))}
    if len(found) < len(files):
        raise ExchangeError(f"{path}: a file of {pattern} has no number, or two have the same. Expected are names such as `img_emb_0.npy`.")
    return found


def _open_npy(file: Path, width: int) -> NDArray[np.floating[Any]]:
    """The vectors of a file of NumPy, mapped into memory: float (n, E)."""
    with warnings.catch_warnings(action="ignore"):  # NumPy warns of headers that Python 2 wrote
        vectors = np.load(file, mmap_mode="r", allow_pickle=False)
    if not isinstance(vectors, np.ndarray) or vectors.dtype.kind != "f" or vectors.ndim != 2:
        raise ValueError("it does not hold rows of floating-point numbers")
    if vectors.shape[1] != width:
        raise ValueError(f"its vectors have {vectors.shape[1]} numbers, and those of the model {width}")
    return vectors


def _tables(file: Path, exported: bool, given: NDArray[Any] | None) -> Iterator[pa.Table]:
    """The rows of a Parquet file as tables with known columns and types. Columns that are not there are null."""
    with pq.ParquetFile(file, pre_buffer=False, page_checksum_verification=True) as parquet:  # a buffer would keep the whole file in memory
        if given is not None and len(given) != parquet.metadata.num_rows:
            raise ValueError(f"it has {parquet.metadata.num_rows} rows for {len(given)} vectors. Both files must be of one export")
        wanted = arrow_fields(stored_columns(Row)) if exported else _FOREIGN_COLUMNS
        there = {*parquet.schema_arrow.names}
        vector = [name for name in _VECTOR_COLUMNS if given is None and name in there][:1]
        if given is None and not vector:
            raise ValueError(f"it has no column of vectors ({', '.join(_VECTOR_COLUMNS)})")
        if there.isdisjoint(_PATH_COLUMNS):
            raise ValueError(f"it has no column of paths ({', '.join(_PATH_COLUMNS)})")
        for batch in parquet.iter_batches(ROWS_PER_BATCH, columns=[*there.intersection(field.name for field in wanted), *vector]):
            columns = {
                field.name: batch.column(field.name).cast(field.type) if field.name in there else pa.nulls(len(batch), field.type)
                for field in wanted
            }
            yield pa.table(columns | ({"vector": batch.column(vector[0])} if vector else {}))


def _vectors_of_column(table: pa.Table, width: int) -> NDArray[np.float32]:
    column = table.column("vector").combine_chunks()
    if column.null_count:
        raise ValueError("a vector is missing")
    return column.cast(pa.list_(pa.float32(), width)).flatten().to_numpy().reshape(-1, width)


def _unit(vectors: NDArray[Any], start: int) -> NDArray[np.float32]:
    """The vectors as float32 with L2 norm 1. Those of norm 1 do not change."""
    with np.errstate(over="ignore"):
        vectors = np.asarray(vectors, np.float32)
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if not (usable := np.isfinite(norms) & (norms > 0)).all():
        raise ValueError(f"the vector of row {start + int(np.argmin(usable))} is zero, or holds a number that is not finite")
    return np.where(np.abs(norms - 1) < _UNIT_TOLERANCE, vectors, vectors / norms).astype(np.float32)


def _check(table: pa.Table, identity: Identity, last_id: int) -> int:
    """Check the columns of an export. Returns its last segment id. Raises ValueError."""
    for each in stored_columns(Row):
        if each.required and table.column(each.name).null_count:
            raise ValueError(f"the column `{each.name}` is missing, or has no value in some row")
    ids, media = (table.column(name).to_numpy() for name in ("segment_id", "media_id"))
    if (np.diff(ids, prepend=last_id) <= 0).any() or (media_id_of_segment(ids) != media).any() or (media >= MAX_MEDIA_ID).any():
        raise ValueError("its rows are not sorted by `segment_id`, or an id occurs twice or does not fit its file")
    for name, allowed in (("kind", KINDS), ("root_id", ("", *identity.roots))):
        if unknown := {*table.column(name).unique().to_pylist()} - {*allowed}:
            raise ValueError(f"unknown {name} ({', '.join(sorted(unknown))})")
    if not pc.all(pc.match_substring_regex(table.column("sha256"), "^([0-9a-f]{64})?$"), min_count=0).as_py():
        raise ValueError("a value of `sha256` is no hash")
    if pc.any(pc.match_substring_regex(table.column("path"), "^$|\\x00"), min_count=0).as_py():
        raise ValueError("a value of `path` is no path")
    if any(not pc.all(pc.is_finite(table.column(name)), min_count=0).as_py() for name in _TIMES):
        raise ValueError("a time is not finite")
    return int(ids[-1]) if len(ids) else last_id


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Errors of a damaged file become an ExchangeError that names it."""
    try:
        yield
    except _DAMAGE as error:
        raise ExchangeError(f"{file}: cannot be imported ({error}). Nothing was changed.") from error
