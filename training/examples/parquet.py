"""Reads captioned pictures from Parquet, with plain columns or in the form that Hugging Face's `datasets` writes.

The encoded pictures stay in Arrow's memory and become Python bytes one at a time. Data that is larger than the memory belongs
in shards (`tar.py`).
"""

from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any, cast, get_args

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training.errors import TrainingError
from training.examples.example import Example, Examples, Kind, Skipped, UnusableError, split_in_name, split_of, usable_texts

_TEXTS = ("texts", "text", "caption")
_OPTIONAL = ("source", "split", "kind", "id")
_NEEDED = f"Needed: image (bytes, or a struct with bytes) and one of {', '.join(_TEXTS)}; optional: {', '.join(_OPTIONAL)}"
_TEXT_TYPES = ("string", "large_string", "string_view", "null")
_BYTES_TYPES = ("binary", "large_binary", "binary_view", "null")


def read_parquet(file: Path, *, name: str, source: str) -> Examples:
    """Read the rows of one file, counted from 1.

    Columns: `image` (bytes, or a struct with `bytes`) and `texts`, `text` or `caption` (a text or a list of texts). Optional:
    `source`, `split` (default: from the file's name), `kind` (default: "caption") and `id` (names the row).
    Raises TrainingError if the file is not Parquet or lacks a column.
    """
    pictures, columns = _read(file)
    defaults = {"split": split_in_name(name.rpartition("/")[2])}
    values = [map(_value, columns[key]) if key in columns else repeat(defaults.get(key), len(pictures)) for key in ("texts", *_OPTIONAL)]
    sizes_bytes = pc.binary_length(pictures).to_pylist()
    examples, skipped, ids = list[Example](), list[Skipped](), set[object]()
    for number, (size_bytes, written, of, split_name, kind_name, row_id) in enumerate(zip(sizes_bytes, *values, strict=True)):
        row, kind = f"{name} row {number + 1}", cast(Kind, kind_name or "caption")
        try:
            split, texts = split_of(split_name), _texts_of(written, kind, size_bytes)
        except UnusableError as error:
            skipped.append(Skipped(row, str(error)))
            continue
        if isinstance(row_id, str | int) and row_id != "" and row_id not in ids:
            row = f"{name} id {row_id}"
            ids.add(row_id)
        examples.append(Example(row, str(of or source), split, kind, texts, partial(_picture, pictures, number)))
    return Examples(tuple(examples), tuple(skipped))


def _read(file: Path) -> tuple[Any, dict[str, Any]]:
    """The encoded pictures, a pyarrow.ChunkedArray of bytes, and the other columns that are used, the texts as "texts"."""
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
            image, written = schema.field("image").type, schema.field(texts).type
            in_struct = pa.types.is_struct(image) and image.get_field_index("bytes") >= 0
            if str(image.field("bytes").type if in_struct else image) not in _BYTES_TYPES:
                raise TrainingError(f"{file}: the column image has the type {image}. Allowed: bytes, or a struct with bytes.")
            if str(getattr(written, "value_type", written)) not in _TEXT_TYPES:  # the type inside a list of any sort, or a dictionary
                raise TrainingError(f"{file}: the column {texts} has the type {written}. Allowed: texts, or lists of texts.")
            optional = [column for column in _OPTIONAL if column in schema.names]
            table = parquet.read(columns=["image.bytes" if in_struct else "image", texts, *optional])
    except (pa.ArrowException, OSError) as error:
        raise TrainingError(f"{file}: cannot be read as Parquet ({error}). Pass a complete, undamaged file.") from error
    pictures = pc.struct_field(table["image"], "bytes") if in_struct else table["image"]
    pictures = pictures if pictures.type == pa.binary() else pictures.cast(pa.large_binary())
    return pictures, {"texts": table[texts], **{column: table[column] for column in optional}}


def _picture(pictures: Any, number: int) -> bytes:
    return bytes(pictures[number].as_py())


def _value(scalar: Any) -> object:
    """The Python value. A text that is not UTF-8, which Arrow does not check, becomes None."""
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return None


def _texts_of(written: object, kind: object, size_bytes: int | None) -> tuple[str, ...]:
    """The usable texts. Raises UnusableError if the row has no picture, an unknown kind, or no text that its kind needs."""
    if kind not in get_args(Kind):
        raise UnusableError(f"unknown kind ({kind!r:.60}). Known: {', '.join(get_args(Kind))}")
    if not size_bytes:
        raise UnusableError("no picture: 'image' holds no bytes")
    texts = () if kind == "unlabelled" else usable_texts(written if isinstance(written, list) else [written])
    if not texts and kind != "unlabelled":
        raise UnusableError(f"no text: {written!r:.60}")
    return texts
