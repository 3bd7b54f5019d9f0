"""A manifest: a CSV or Parquet file that names files, and says of them what their own metadata lacks.

The column `path` (or `uri`, or `file_name`) is relative to the manifest, absolute, or an address. The columns of `VALUES` replace what the
file says of itself. In a CSV, keywords and people are separated by `;`.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from indexer.errors import SourceError
from media.file_names import unescape
from media.sources.addresses import is_address
from search.schema import FileColumns

_PATHS = ("path", "uri", "file_name")
_SOURCE = "manifest"  # of a time, in the column `taken_at_source`
_EXIF_DATE = re.compile(r"^(\d{4}):(\d\d):(\d\d)")


@dataclass(frozen=True)
class Manifest:
    """What a manifest says: the columns of `search.schema.FileColumns` by path, and what of it was not used, in sentences."""

    columns: Mapping[str, Mapping[str, object]]
    notes: tuple[str, ...] = ()


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read a manifest. Raises SourceError if it cannot be read or names no files."""
    file = Path(path)
    table = _read(file)
    key = next((name for name in _PATHS if name in table.column_names), None)
    if key is None:
        raise SourceError(
            f"{file}: no column {' or '.join(_PATHS)}. Name the files in one of them. Found: {', '.join(table.column_names)}."
        )
    folder = os.path.realpath(file.parent)
    columns: dict[str, dict[str, object]] = {}
    bad: dict[str, list[int]] = {}
    for number, row in enumerate(table.to_pylist(), start=1):
        if not isinstance(row[key], str) or not row[key]:
            bad.setdefault(key, []).append(number)
            continue
        name = unescape(row[key])
        values = columns.setdefault(name if is_address(name) else os.path.join(folder, name), {})  # noqa: PTH118 - or an address
        for column in VALUES.keys() & row.keys():
            try:
                values |= {} if row[column] is None or row[column] == "" else VALUES[column](row[column])
            except (ValueError, TypeError, OverflowError):
                bad.setdefault(column, []).append(number)
    notes = [f"{file.name}: {len(rows)} values of {column} were not used (first in row {rows[0]})." for column, rows in sorted(bad.items())]
    if unused := [name for name in table.column_names if name not in {key, *VALUES}]:
        notes.append(f"{file.name}: columns that were not used: {', '.join(unused)}. Used are {', '.join(VALUES)}.")
    return Manifest(columns, tuple(notes))


def described(file: FileColumns, said: Mapping[str, Any]) -> FileColumns:
    """A file with the columns that a manifest fills. The place follows the position."""
    columns = {**said, "from_manifest": tuple(said)}
    if "place" not in said and {"latitude", "longitude"} <= said.keys():
        from media.metadata.place import place_of  # loads scipy and a table of cities

        columns["place"] = place_of(said["latitude"], said["longitude"])
    return replace(file, **columns)


def _read(file: Path) -> pa.Table:
    try:
        if file.suffix.lower() == ".parquet":
            table = pyarrow.parquet.read_table(file)
            return table.cast(pa.schema([_in_microseconds(field) for field in table.schema]), safe=False)
        parse = pyarrow.csv.ParseOptions(delimiter="\t" if file.suffix.lower() == ".tsv" else ",", newlines_in_values=True)
        with pyarrow.csv.open_csv(file, parse_options=parse) as reader:
            names = reader.schema.names
        texts = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
        return pyarrow.csv.read_csv(file, parse_options=parse, convert_options=texts)
    except (OSError, pa.ArrowException) as error:
        reason = (str(error).splitlines() or [repr(error)])[0]
        raise SourceError(f"{file}: cannot be read ({reason}). Give a CSV in UTF-8 or a Parquet file.") from error


def _in_microseconds(field: pa.Field) -> pa.Field:
    """Python has no nanoseconds."""
    return field.with_type(pa.timestamp("us", field.type.tz)) if pa.types.is_timestamp(field.type) else field


def _text(name: str) -> Callable[[Any], dict[str, object]]:
    return lambda value: {name: str(value)}


def _texts(name: str) -> Callable[[Any], dict[str, object]]:
    def read(value: Any) -> dict[str, object]:
        parts: Iterable[Any] = value.split(";") if isinstance(value, str) else value
        return {name: tuple(text for part in parts if (text := str(part).strip()))}

    return read


def _number(name: str, most: float) -> Callable[[Any], dict[str, object]]:
    def read(value: Any) -> dict[str, object]:
        number = float(value)
        if not -most <= number <= most:  # also refuses NaN
            raise ValueError(number)
        return {name: number}

    return read


def _rating(value: Any) -> dict[str, object]:
    stars = float(value)
    if stars not in range(6):
        raise ValueError(stars)
    return {"rating": int(stars)}


def _time(value: Any) -> dict[str, object]:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(_EXIF_DATE.sub(r"\1-\2-\3", str(value).strip()))
    if not 1700 <= moment.year <= 2200:
        raise ValueError(moment)
    offset = moment.utcoffset()
    return {
        "taken_at": (moment if offset is not None else moment.replace(tzinfo=UTC)).astimezone(UTC),
        "taken_local": moment.replace(tzinfo=None),
        "utc_offset_minutes": None if offset is None else round(offset.total_seconds() / 60),
        "taken_at_source": _SOURCE,
    }


VALUES: Mapping[str, Callable[[Any], dict[str, object]]] = {
    **{name: _text(name) for name in ("title", "description", "place", "camera", "lens")},
    **{name: _texts(name) for name in ("keywords", "people")},
    "rating": _rating,
    "taken_at": _time,
    "latitude": _number("latitude", 90),
    "longitude": _number("longitude", 180),
}
