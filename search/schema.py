"""The columns of a collection, each declared once: name, type, unit, meaning and source.

Tables, `FileRows`, `Hit`, the wire form, the fields of a filter and docs/collection.md derive from the classes below. To add a column,
add one line to one of them. One table holds segments and files: a commit to one Lance table is atomic, and a filter needs no join.

This module imports no pyarrow, so that clients and the page can use it.
"""

import hashlib
import types
from collections.abc import Container, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    import pyarrow as pa

# image: a picture. shot: one shot of a video. clip: a whole video, the mean of 16 uniformly spaced frames.
Kind = Literal["image", "shot", "clip"]
KINDS: tuple[Kind, ...] = get_args(Kind)
DEFAULT_KINDS: tuple[Kind, ...] = ("image", "shot")  # what a search returns by default

TAKEN = ("taken_at", "taken_local", "utc_offset_minutes", "taken_at_source")  # the columns of the time
_ORDINAL_BITS = 20
MAX_MEDIA_ID = 1 << 43  # exclusive; so that a segment id fits 63 bits
MAX_SEGMENTS_PER_FILE = 1 << _ORDINAL_BITS
_ARROW_TYPES = {int: "int64", float: "float64", str: "string", bool: "bool", datetime: "timestamp", tuple: "strings"}
_SHOWN_TYPES = {"dictionary": "string", "timestamp": "timestamp[us, UTC]", "local": "timestamp[us]", "strings": "list of strings"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Column:
    """The properties of a column beside its name and Python type.

    Attributes:
        meaning: one sentence for docs/collection.md.
        unit: of the values, such as "seconds"; empty where there is none.
        source: the key of `media.Metadata` that fills it; by default the column's name.
        arrow: the Arrow type, if it is not the usual one for the Python type.
        stored: whether it is a column of the Lance table; otherwise it is computed when a row is read.
    """

    meaning: str
    unit: str = ""
    source: str = ""
    arrow: str = ""
    stored: bool = True


@dataclass(frozen=True, kw_only=True)
class SegmentColumns:
    """The columns of one segment: a picture, a shot of a video, or a whole video."""

    segment_id: Annotated[int, Column("`media_id * 2^20 + n`, where n counts the segments of the file; unique")]
    kind: Annotated[Kind, Column("`image`: a picture. `shot`: a shot of a video. `clip`: a whole video", arrow="dictionary")]
    start_seconds: Annotated[float | None, Column("start of the segment in the video; null for a picture", "seconds")] = None
    end_seconds: Annotated[float | None, Column("end of the segment, exclusive; null for a picture", "seconds")] = None
    frame_seconds: Annotated[float | None, Column("time of the frame that shows the segment best; null for a picture", "seconds")] = None


@dataclass(frozen=True, kw_only=True)
class FileColumns:
    """The columns of one file, repeated on each of its segments. A column without a value in the file's metadata is null."""

    media_id: Annotated[int, Column("the file; kept when the file moves; fits a JavaScript number")]
    root_id: Annotated[str, Column("the root that contains the file (`coca-search roots`)", arrow="dictionary")]
    path: Annotated[str, Column("path below the root, with `/` between folders")]
    size_bytes: Annotated[int, Column("size of the file", "bytes")]
    mtime: Annotated[float, Column("time of the last change of the file", "seconds since 1970")]
    sha256: Annotated[str, Column("SHA-256 of the bytes of the file, in hexadecimal")]
    indexed_at: Annotated[datetime, Column("when the row was written", "UTC")]
    width: Annotated[int, Column("width of the upright picture", "pixels", arrow="int32")]
    height: Annotated[int, Column("height of the upright picture", "pixels", arrow="int32")]
    duration_seconds: Annotated[float | None, Column("length of the video; null for a picture", "seconds")] = None
    taken_at: Annotated[datetime | None, Column("when it was taken; a local time without a zone is stored as if it were UTC", "UTC")] = None
    taken_local: Annotated[datetime | None, Column("the same moment on the clock of the photographer", arrow="local")] = None
    utc_offset_minutes: Annotated[int | None, Column("that clock minus UTC; null if the zone is unknown", "minutes", arrow="int32")] = None
    taken_at_source: Annotated[
        str | None,
        Column(
            "where the time was read: a tag such as `Exif.Photo.DateTimeOriginal`, a sidecar, `file name`, or `file time`",
            arrow="dictionary",
        ),
    ] = None
    latitude: Annotated[float | None, Column("where it was taken", "degrees north")] = None
    longitude: Annotated[float | None, Column("where it was taken", "degrees east")] = None
    place: Annotated[str | None, Column("the nearest city, its region and country, by latitude and longitude")] = None
    camera: Annotated[str | None, Column("maker and model of the camera")] = None
    lens: Annotated[str | None, Column("model of the lens")] = None
    title: Annotated[str | None, Column("title, from the metadata of the file")] = None
    description: Annotated[str | None, Column("description or caption, from the metadata of the file")] = None
    keywords: Annotated[tuple[str, ...] | None, Column("keywords, from the metadata of the file")] = None
    people: Annotated[tuple[str, ...] | None, Column("names of people, from the regions in the metadata of the file")] = None
    rating: Annotated[int | None, Column("stars, from the metadata of the file", "0 to 5", arrow="int32")] = None
    format: Annotated[str | None, Column("the format of the file by its bytes, a name of `media.formats`", arrow="dictionary")] = None
    damaged: Annotated[bool | None, Column("true if only a part of the file could be decoded, otherwise null")] = None
    perceptual_hash: Annotated[str | None, Column("64 bits in hexadecimal; look-alikes differ in few bits (pHash); null for a video")] = (
        None
    )
    notes: Annotated[tuple[str, ...] | None, Column("what its metadata says and cannot be true, such as the year 9999")] = None
    from_manifest: Annotated[tuple[str, ...] | None, Column("the columns that a manifest filled")] = None
    revision: Annotated[str | None, Column("changes with the bytes of the file or its sidecars: change time and inode, or an ETag")] = None


@dataclass(frozen=True, kw_only=True)
class Row(FileColumns, SegmentColumns):
    """One segment with the columns of its file, as a reader sees it."""

    uri: Annotated[str, Column("absolute path of the file: the folder of its root now, and `path`", stored=False)]


@dataclass(frozen=True, kw_only=True)
class FailureColumns:
    """The columns of a file that could not be indexed."""

    root_id: Annotated[str, Column("the root that contains the file")]
    path: Annotated[str, Column("path below the root")]
    size_bytes: Annotated[int, Column("size of the file", "bytes")]
    mtime: Annotated[float, Column("time of the last change of the file", "seconds since 1970")]
    stage: Annotated[str, Column("`scan`, `read`, `probe` or `decode`")]
    reason: Annotated[str, Column("why, as a sentence for the user")]
    revision: Annotated[str | None, Column("changes with the bytes of the file, as in the table of segments")] = None
    attempts: Annotated[int, Column("how many runs tried it", arrow="int32")] = 1
    last_tried_at: Annotated[datetime | None, Column("when it was tried last", "UTC")] = None


@dataclass(frozen=True)
class ColumnInfo:
    """A column with its name and the Python type of its values.

    Attributes:
        required: it is never null.
        choices: the only values that it has; empty if it can have others.
    """

    name: str
    type: type
    required: bool
    column: Column
    choices: tuple[str, ...] = ()

    @property
    def arrow_name(self) -> str:
        return self.column.arrow or _ARROW_TYPES[self.type]


@cache
def columns_of(record: type) -> tuple[ColumnInfo, ...]:
    """The columns of one of the dataclasses above, in the order of their declaration."""
    hints = get_type_hints(record, include_extras=True)
    found = []
    for field in fields(record):
        annotation, *extras = get_args(hints[field.name])
        column = next(extra for extra in extras if isinstance(extra, Column))
        optional = get_origin(annotation) in {Union, types.UnionType}
        plain = next(each for each in get_args(annotation) if each is not type(None)) if optional else annotation
        python_type = {Literal: str, tuple: tuple}.get(get_origin(plain), plain)
        choices = get_args(plain) if get_origin(plain) is Literal else ()
        found.append(ColumnInfo(field.name, python_type, not optional, column, choices))
    return tuple(found)


def stored_columns(record: type) -> tuple[ColumnInfo, ...]:
    """The columns of the record that are stored in its table."""
    return tuple(each for each in columns_of(record) if each.column.stored)


def columns_from_metadata(metadata: Mapping[str, object]) -> dict[str, Any]:
    """The values of `FileColumns` from the metadata of a file: {column name: value}. Values of a wrong type are left out."""
    values = {}
    for each in columns_of(FileColumns):
        value = metadata.get(each.column.source or each.name)
        if each.type is float and isinstance(value, int):
            value = float(value)
        if isinstance(value, each.type) and isinstance(value, bool) == (each.type is bool):
            values[each.name] = value
    return values


def columns_as_markdown(record: type) -> str:
    """The table of the record's columns in docs/collection.md."""
    lines = ["| Column | Type | Unit | Meaning |", "|---|---|---|---|"]
    for each in columns_of(record):
        name = _SHOWN_TYPES.get(each.arrow_name, each.arrow_name)
        where = "" if each.column.stored else " (computed, not stored)"
        lines.append(f"| `{each.name}` | {name} | {each.column.unit} | {each.column.meaning}{where} |")
    return "\n".join(lines) + "\n"


def segment_schema(embedding_width: int) -> "pa.Schema":
    """The Arrow schema of `segments.lance`."""
    import pyarrow as pa

    vector = pa.field("vector", pa.list_(pa.float32(), embedding_width), nullable=False)
    return pa.schema([*arrow_fields(stored_columns(Row)), vector])


def failure_schema() -> "pa.Schema":
    """The Arrow schema of `failures.lance`."""
    import pyarrow as pa

    return pa.schema(arrow_fields(stored_columns(FailureColumns)))


def arrow_fields(columns: tuple[ColumnInfo, ...]) -> list["pa.Field"]:
    import pyarrow as pa

    special = {
        "timestamp": pa.timestamp("us", "UTC"),
        "local": pa.timestamp("us"),
        "dictionary": pa.string(),
        "strings": pa.list_(pa.string()),
    }
    types = [special.get(each.arrow_name) or pa.type_for_alias(each.arrow_name) for each in columns]
    return [pa.field(each.name, type_, nullable=not each.required) for each, type_ in zip(columns, types, strict=True)]


def datetime_of(since_1970: timedelta | None) -> datetime | None:
    """The time so long after 1970, UTC. None if Python has no such date: older versions wrote impossible ones."""
    try:
        return None if since_1970 is None else _EPOCH + since_1970
    except OverflowError:
        return None


def new_media_id(uri: str, used: Container[int] = ()) -> int:
    """The id of a file first seen under `uri`: 43 bits of a hash, so that all runs and workers agree on it.

    If another file has that id (it is in `used`), the hash is repeated with the next salt.
    """
    for salt in count():
        digest = hashlib.blake2b(f"{salt}:{uri}".encode(errors="surrogateescape"), digest_size=8).digest()
        media_id = int.from_bytes(digest, "big") >> (64 - 43)
        if media_id not in used:
            break
    return media_id


def segment_id_of(media_id: int, ordinal: int) -> int:
    """The id of segment number `ordinal` of a file. It contains the id of the file, so no look-up is needed."""
    return media_id << _ORDINAL_BITS | ordinal


def media_id_of_segment(segment_id: Any) -> Any:
    """The file of a segment; also of an int64 array of segments."""
    return segment_id >> _ORDINAL_BITS


def segment_ids_of(media_id: int) -> tuple[int, int]:
    """The range `[start, stop)` of the segment ids that a file can have."""
    return media_id << _ORDINAL_BITS, (media_id + 1) << _ORDINAL_BITS
