"""Hits: what a search returns, and their wire form. The columns are those of `search.schema.Row`."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from media.file_names import escape
from search.schema import Row, columns_of

if TYPE_CHECKING:
    import pyarrow as pa


FileState = Literal["unchanged", "changed", "missing", "elsewhere"]  # the file now, compared with the indexed one; elsewhere: not asked


@dataclass(frozen=True, kw_only=True)
class Hit(Row):
    """A picture, or a moment of a video: `[start_seconds, end_seconds)`, best seen at `frame_seconds`; None for a picture.

    `similarity` is the cosine between query and segment, -1..1.
    """

    similarity: float

    @classmethod
    def of_row(cls, row: dict[str, Any], similarity: float) -> "Hit":
        """The hit of a row with all columns of `Row`, which becomes its `__dict__`. The constructor sets each of 37 fields by itself."""
        hit = object.__new__(cls)
        row["similarity"] = similarity
        object.__setattr__(hit, "__dict__", row)
        return hit

    def to_wire(self) -> dict[str, Any]:
        """The hit as JSON values: numbers that are not finite are null, times are ISO 8601, the segment id is text."""
        return to_wire(vars(self))


@dataclass(frozen=True, kw_only=True)
class RemoteHit(Hit):
    """A hit from the service, with URLs for a browser."""

    file: FileState
    media_url: str
    thumbnail_url: str

    def without_addresses(self) -> Hit:
        """The same hit, as a search in this process returns it."""
        return Hit(**{each.name: getattr(self, each.name) for each in fields(Hit)})

    @staticmethod
    def from_wire(answer: Mapping[str, Any]) -> "RemoteHit":
        """Read a hit of the service. Columns that this program does not know are ignored. Raises KeyError, TypeError, ValueError."""
        values: dict[str, Any] = {each.name: answer[each.name] for each in fields(RemoteHit) if each.name in answer}
        values["segment_id"] = int(answer["segment_id"])
        for each in columns_of(Row):
            if each.type is datetime and isinstance(values.get(each.name), str):
                values[each.name] = datetime.fromisoformat(values[each.name])
            elif each.type is tuple and values.get(each.name) is not None:
                values[each.name] = tuple(values[each.name])
        return RemoteHit(**values)


class Hits(Sequence[Hit]):
    """Hits, best first."""

    def __init__(self, hits: Sequence[Hit]) -> None:
        self._hits = list(hits)

    def __getitem__(self, index: Any) -> Any:
        return Hits(self._hits[index]) if isinstance(index, slice) else self._hits[index]

    def __len__(self) -> int:
        return len(self._hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self._hits)

    def __repr__(self) -> str:
        return f"Hits({self._hits!r})"

    def to_arrow(self) -> "pa.Table":
        """One row for each hit, best first, with the columns of `Hit`."""
        import pyarrow as pa

        from search.schema import arrow_fields

        schema = pa.schema([*arrow_fields(columns_of(Row)), pa.field("similarity", pa.float32(), nullable=False)])
        return pa.Table.from_pylist([asdict(hit) | {"uri": escape(hit.uri)} for hit in self._hits], schema=schema)


def to_wire(row: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a row or hit as JSON values. A path that is not valid UTF-8 is escaped, see `media.file_names`."""
    wire = {name: _json_value(value) for name, value in row.items()}
    wire["segment_id"] = str(wire["segment_id"])  # 63 bits do not fit a JavaScript number
    wire["uri"] = escape(wire["uri"])
    return wire


def _json_value(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no NaN and no infinity
    return value.isoformat() if isinstance(value, datetime) else value
