"""Reads captioned pictures from Parquet, with plain columns or in the form that Hugging Face's `datasets` writes.

The encoded pictures stay in Arrow's memory and become Python bytes one at a time. Data that is larger than the memory belongs
in shards (`tar.py`).
"""

from collections.abc import Iterator
from functools import partial
from itertools import repeat
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


def read_parquet(file: Path, *, name: str, source: str) -> Examples:
    """Read the rows of one file, counted from 1.

    Columns: `image` (bytes, or a struct with `bytes`) and `texts`, `text` or `caption` (a text or a list of texts). Optional:
    `source`, `split` (default: from the file's name), `kind` (default: "caption") and `id` (names the row).

    Raises:
        TrainingError: the file is not Parquet or lacks a column.
    """
    table = _read_table(file)
    pictures = _pictures(table["image"], file)
    examples, skipped, ids = list[Example](), list[Skipped](), set[object]()
    for number, (size_bytes, written, of, split_name, kind_name, row_id) in enumerate(_rows(table, pictures, name)):
        row = f"{name} row {number + 1}"
        split, reason = split_or_reason(split_name)
        kind = kind_name or "caption"
        texts = () if kind == "unlabelled" else usable_texts(written if isinstance(written, list) else [written])
        if reason := reason or _why_unusable(size_bytes, kind, texts, written):
            skipped.append(Skipped(row, reason))
            continue
        if isinstance(row_id, str | int) and row_id != "" and row_id not in ids:
            row = f"{name} id {row_id}"
            ids.add(row_id)
        read = partial(_picture, pictures, number)
        examples.append(Example(row, str(of or source), split, cast(Kind, kind), texts, read))
    return Examples(tuple(examples), tuple(skipped))


def _read_table(file: Path) -> Any:
    """A pyarrow.Table of the columns that are used."""
    try:
        # Not `pq.read_table`, which reads "split=val/" in a path as a column.
        with pq.ParquetFile(str(file), memory_map=True) as parquet:
            schema = parquet.schema_arrow
            texts = next((column for column in _TEXTS if column in schema.names), None)
            if texts is None or "image" not in schema.names:
                lacking = "image" if texts else "texts"
                raise TrainingError(f"{file}: no column {lacking} (found: {', '.join(schema.names)}). {_NEEDED}.")
            if twice := [column for column in ("image", texts, *_OPTIONAL) if schema.names.count(column) > 1]:
                raise TrainingError(f"{file}: two columns have the name {twice[0]}. Rename one of them.")
            _check_texts(schema.field(texts).type, file, texts)
            image = "image.bytes" if _holds_bytes(schema.field("image").type) else "image"
            return parquet.read(columns=[image, texts, *(column for column in _OPTIONAL if column in schema.names)])
    except (pa.ArrowException, OSError) as error:
        raise TrainingError(f"{file}: cannot be read as Parquet ({error}). Pass a complete, undamaged file.") from error


def _holds_bytes(kind: Any) -> bool:
    return pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0


def _check_texts(kind: Any, file: Path, column: str) -> None:
    """Raises TrainingError unless the column holds texts or lists of texts."""
    inner = getattr(kind, "value_type", kind)  # of a list of any sort, or of a dictionary
    if not any(allowed(inner) for allowed in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)):
        raise TrainingError(f"{file}: the column {column} has the type {kind}. Allowed: texts, or lists of texts.")


def _pictures(column: Any, file: Path) -> Any:
    """The encoded pictures, a pyarrow.ChunkedArray of bytes."""
    pictures = pc.struct_field(column, "bytes") if _holds_bytes(column.type) else column
    kind = pictures.type
    if not any(allowed(kind) for allowed in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_null)):
        raise TrainingError(f"{file}: the column image has the type {column.type}. Allowed: bytes, or a struct with bytes.")
    return pictures if kind == pa.binary() else pictures.cast(pa.large_binary())


def _picture(pictures: Any, number: int) -> bytes:
    return bytes(pictures[number].as_py())


def _rows(table: Any, pictures: Any, name: str) -> Iterator[tuple[Any, ...]]:
    """For each row the size of the picture in bytes, the texts, and the `_OPTIONAL` columns, as Python values."""
    defaults = {"split": split_in_name(name.rpartition("/")[2])}
    texts = next(column for column in _TEXTS if column in table.column_names)
    columns = (
        _values(table[column]) if column in table.column_names else repeat(defaults.get(column), len(table))
        for column in (texts, *_OPTIONAL)
    )
    return zip(pc.binary_length(pictures).to_pylist(), *columns, strict=True)


def _values(column: Any) -> list[object]:
    """The Python values of a column. A text that is not UTF-8, which Arrow does not check, becomes None."""
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return [_value(column[number]) for number in range(len(column))]


def _value(scalar: Any) -> object:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return None


def _why_unusable(size_bytes: int | None, kind: object, texts: tuple[str, ...], written: object) -> str:
    if kind not in get_args(Kind):
        return f"unknown kind ({kind!r:.60}). Known: {', '.join(get_args(Kind))}"
    if not size_bytes:
        return "no picture: 'image' holds no bytes"
    return "" if texts or kind == "unlabelled" else f"no text: {written!r:.60}"
