"""Captioned pictures in Parquet: plain columns, or as Hugging Face's `datasets` writes them.

The encoded pictures stay in Arrow's memory, one block for each row group, and become Python's bytes one at a time. Data larger
than the memory belongs into shards (`tar_examples.py`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training.errors import TrainingError
from training.examples.example import Example, Examples, Kind, Skipped, split_in_name, split_or_reason, usable_texts

_TEXTS = ("texts", "text", "caption")
_OPTIONAL = ("source", "split", "kind", "id")
_NEEDED = f"Needed: image (bytes, or a struct with bytes) and one of {', '.join(_TEXTS)}; optional: {', '.join(_OPTIONAL)}"


@dataclass(frozen=True)
class _Row:
    where: str
    picture_bytes: int
    texts: object
    source: object
    split: object
    kind: object
    id: object


def read_parquet(file: Path, *, name: str, source: str) -> Examples:
    """The rows of one file, counted from 1.

    Columns: `image` (bytes, or a struct with `bytes`) and `texts` (`text` and `caption` will do; a list or one text); optional
    `source`, `split` (else what the file's name says), `kind` (else "caption") and `id` (then the row is called by it).
    Raises TrainingError where the file is no Parquet or lacks a column.
    """
    table = _read_table(file)
    pictures = _pictures(table["image"], file)
    examples, skipped, ids = list[Example](), list[Skipped](), set[object]()
    for number, row in enumerate(_rows(table, pictures, name)):
        split, reason = split_or_reason(row.split)
        kind = row.kind or "caption"
        texts = () if kind == "unlabelled" else usable_texts(row.texts if isinstance(row.texts, list) else [row.texts])
        if reason := reason or _why_unusable(row, kind, texts):
            skipped.append(Skipped(row.where, reason))
            continue
        called = row.where
        if isinstance(row.id, str | int) and row.id != "" and row.id not in ids:
            called = f"{name} id {row.id}"
            ids.add(row.id)
        read = partial(_picture, pictures, number)
        examples.append(Example(called, str(row.source or source), split, cast(Kind, kind), texts, read))
    return Examples(tuple(examples), tuple(skipped))


def _read_table(file: Path) -> Any:
    """A pyarrow.Table of the columns that count."""
    try:
        # Not `pq.read_table`, which takes "split=val/" in a path for a column.
        with pq.ParquetFile(str(file), memory_map=True) as parquet:
            schema = parquet.schema_arrow
            texts = next((column for column in _TEXTS if column in schema.names), None)
            if texts is None or "image" not in schema.names:
                lacking = "image" if texts else "texts"
                raise TrainingError(f"{file}: no column {lacking} (found: {', '.join(schema.names)}). {_NEEDED}.")
            if twice := [column for column in ("image", texts, *_OPTIONAL) if schema.names.count(column) > 1]:
                raise TrainingError(f"{file}: two columns are called {twice[0]}. Rename one of them.")
            _check_texts(schema.field(texts).type, file, texts)
            image = "image.bytes" if _holds_bytes(schema.field("image").type) else "image"
            return parquet.read(columns=[image, texts, *(column for column in _OPTIONAL if column in schema.names)])
    except (pa.ArrowException, OSError) as error:
        raise TrainingError(f"{file}: cannot be read as Parquet ({error}). A whole, undamaged file is needed.") from error


def _holds_bytes(kind: Any) -> bool:
    return pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0


def _check_texts(kind: Any, file: Path, column: str) -> None:
    """Raises TrainingError where the column holds neither texts nor lists of texts."""
    inner = getattr(kind, "value_type", kind)  # of a list of any sort, or of a dictionary
    if not any(allowed(inner) for allowed in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)):
        raise TrainingError(f"{file}: the column {column} is of the type {kind}. Allowed: texts, or lists of texts.")


def _pictures(column: Any, file: Path) -> Any:
    """The encoded pictures, a pyarrow.ChunkedArray of bytes."""
    pictures = pc.struct_field(column, "bytes") if _holds_bytes(column.type) else column
    kind = pictures.type
    if not any(allowed(kind) for allowed in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_null)):
        raise TrainingError(f"{file}: the column image is of the type {column.type}. Allowed: bytes, or a struct with bytes.")
    return pictures if kind == pa.binary() else pictures.cast(pa.large_binary())


def _picture(pictures: Any, number: int) -> bytes:
    return bytes(pictures[number].as_py())


def _rows(table: Any, pictures: Any, name: str) -> Iterator[_Row]:
    """All but the pictures, as Python's values."""
    sizes = [size or 0 for size in pc.binary_length(pictures).to_pylist()]
    texts = _values(table[next(column for column in _TEXTS if column in table.column_names)])
    nothing: list[object] = [None] * len(sizes)
    others = {column: _values(table[column]) if column in table.column_names else nothing for column in _OPTIONAL}
    if "split" not in table.column_names:
        others["split"] = [split_in_name(name.rpartition("/")[2])] * len(sizes)
    for number, size in enumerate(sizes):
        yield _Row(f"{name} row {number + 1}", size, texts[number], **{column: values[number] for column, values in others.items()})


def _values(column: Any) -> list[object]:
    """Python's values; None for a text that is not UTF-8, which Arrow does not check."""
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return [_value(column[number]) for number in range(len(column))]


def _value(scalar: Any) -> object:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return None


def _why_unusable(row: _Row, kind: object, texts: tuple[str, ...]) -> str:
    if kind not in get_args(Kind):
        return f"unknown kind ({kind!r:.60}). Known: {', '.join(get_args(Kind))}"
    if not row.picture_bytes:
        return "no picture: 'image' holds no bytes"
    return "" if texts or kind == "unlabelled" else f"no text: {row.texts!r:.60}"
