"""A manifest: a CSV or Parquet file that names files, and says of them what their own metadata lacks.

The column `path` (or `uri`, or `file_name`) is relative to the manifest, absolute, or an address. The columns of `VALUES` replace what the
file says of itself. In a CSV, keywords and people are separated by `;`. Python's reader takes what spreadsheets write: semicolons where
the comma is that of numbers, rows that lack their last values, and long texts.
"""

import csv
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from indexer.errors import SourceError
from media.file_names import unescape
from media.sources.addresses import is_address
from search.schema import FileColumns

_PATHS = ("path", "uri", "file_name")
_SEPARATORS = (",", ";", "\t")
_TOO_MANY = "\0"  # no column has this name
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
    folder = os.path.realpath(file.parent)
    columns: dict[str, dict[str, object]] = {}
    bad: dict[str, list[int]] = {}
    try:
        names, rows = _read_parquet(file) if file.suffix.lower() == ".parquet" else _read_csv(file)
        key = next((name for name in _PATHS if name in names), None)
        if key is None:
            found = ", ".join(map(str, names))
            raise SourceError(f"{file}: no column {' or '.join(_PATHS)}. Name the files in one of them. Found: {found}.")
        for number, row in enumerate(rows, start=1):
            said = _said(row, key, lambda column: bad.setdefault(column, []).append(number))  # noqa: B023 - called at once
            if said is not None:
                name, values = said
                columns.setdefault(name if is_address(name) else os.path.join(folder, name), {}).update(values)  # noqa: PTH118
    except (OSError, UnicodeError, csv.Error, pa.ArrowException) as error:
        reason = (str(error).splitlines() or [repr(error)])[0]
        raise SourceError(f"{file}: cannot be read ({reason}). Give a CSV in UTF-8 or a Parquet file.") from error
    if not columns:
        raise SourceError(f"{file}: its column {key} names no files.")
    notes = [f"{file.name}: {len(rows)} values of {column} were not used (first in row {rows[0]})." for column, rows in sorted(bad.items())]
    if unused := [name for name in names if name not in {key, *VALUES}]:
        notes.append(f"{file.name}: columns that were not used: {', '.join(unused)}. Used are {', '.join(VALUES)}.")
    return Manifest(columns, tuple(notes))


def described(file: FileColumns, said: Mapping[str, Any]) -> FileColumns:
    """A file with the columns that a manifest fills. The place follows the position."""
    columns = {**said, "from_manifest": tuple(said)}
    if "place" not in said and {"latitude", "longitude"} <= said.keys():
        from media.metadata.place import place_of  # loads scipy and a table of cities

        columns["place"] = place_of(said["latitude"], said["longitude"])
    return replace(file, **columns)


def _said(row: Mapping[str, Any], key: str, note_bad: Callable[[str], None]) -> tuple[str, dict[str, object]] | None:
    """The file that a row names, as it is written, and what the row says of it; None if it names none."""
    try:
        path = _python(row[key])
        if not isinstance(path, str) or not path or _TOO_MANY in row:
            raise ValueError(path)
    except (ValueError, OverflowError):
        note_bad(key)
        return None
    values: dict[str, object] = {}
    for column in [name for name in VALUES if name in row]:
        try:
            value = _python(row[column])
            values |= {} if value is None or value == "" else VALUES[column](value)
        except (ValueError, TypeError, OverflowError):
            note_bad(column)
    if len(half := {"latitude", "longitude"} & values.keys()) == 1:  # half a position is none
        values.pop(*half)
        note_bad(*half)
    return unescape(path), values


def _read_csv(file: Path) -> tuple[Sequence[str], Iterator[Mapping[str, Any]]]:
    """The columns and rows of a CSV, separated by commas, semicolons or tabs. A row with too many values also has `_TOO_MANY`."""
    with file.open(encoding="utf-8-sig", newline="") as stream:
        first = stream.readline()
    separator = next((each for each in _SEPARATORS if {*_PATHS} & {*_names(first, each)}), _SEPARATORS[0])
    names = _names(first, separator)
    if not any(names):
        raise OSError("there is no line with the names of the columns")

    def rows() -> Iterator[Mapping[str, Any]]:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            lines = csv.reader(stream, delimiter=separator)
            next(lines)
            yield from (dict(zip([*names, _TOO_MANY], line, strict=False)) for line in lines if line)

    return names, rows()


def _read_parquet(file: Path) -> tuple[Sequence[str], Iterator[Mapping[str, Any]]]:
    """The columns and rows of a Parquet file, with the values as pyarrow has them: Python cannot hold some of them."""
    table = pyarrow.parquet.read_table(file)
    names = [name.strip().lower() for name in table.column_names]
    table = table.rename_columns(names).select(
        [name for name in dict.fromkeys(names) if name in {*_PATHS, *VALUES} and names.count(name) == 1]
    )
    table = table.cast(pa.schema([_in_microseconds(field) for field in table.schema]), safe=False)
    rows = (dict(zip(table.column_names, row, strict=True)) for batch in table.to_batches() for row in zip(*batch.columns, strict=True))
    return names, rows


def _names(header: str, separator: str) -> list[str]:
    return [name.strip().lower() for name in next(csv.reader([header], delimiter=separator), ())]


def _python(value: Any) -> Any:
    """Raises ValueError or OverflowError for a value of pyarrow that Python cannot hold."""
    return value.as_py() if isinstance(value, pa.Scalar) else value


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
