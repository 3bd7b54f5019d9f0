"""Hits: what a search returns, and how segments become hits."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

import pyarrow as pa

from search.schema import Kind


@dataclass(frozen=True)
class Hit:
    """A picture, or a moment of a video: `[start_seconds, end_seconds)`, best seen at `frame_seconds`; None for a picture.

    `similarity` is the cosine between query and segment, -1..1. `uri` is the file's path or address.
    """

    uri: str
    kind: Kind
    similarity: float
    start_seconds: float | None
    end_seconds: float | None
    frame_seconds: float | None
    media_id: int
    segment_id: int
    width: int
    height: int
    duration_seconds: float | None
    taken_at: datetime | None


HIT_SCHEMA = pa.schema(
    [
        ("uri", pa.string()),
        ("kind", pa.string()),
        ("similarity", pa.float32()),
        ("start_seconds", pa.float64()),
        ("end_seconds", pa.float64()),
        ("frame_seconds", pa.float64()),
        ("media_id", pa.int64()),
        ("segment_id", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("duration_seconds", pa.float64()),
        ("taken_at", pa.timestamp("us", "UTC")),
    ]
)
ROW_COLUMNS = [field.name for field in fields(Hit) if field.name != "similarity"]


class Hits(Sequence[Hit]):
    """Hits, best first."""

    def __init__(self, hits: Sequence[Hit]) -> None:
        self._hits = list(hits)

    def __getitem__(self, place: Any) -> Any:
        return Hits(self._hits[place]) if isinstance(place, slice) else self._hits[place]

    def __len__(self) -> int:
        return len(self._hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self._hits)

    def __repr__(self) -> str:
        return f"Hits({self._hits!r})"

    def to_arrow(self) -> pa.Table:
        """One row a hit, best first, with the columns of `HIT_SCHEMA`."""
        return pa.Table.from_pylist([asdict(hit) for hit in self._hits], schema=HIT_SCHEMA)


def best_of_each_file(hits: Sequence[Hit]) -> list[Hit]:
    """Only the best moment of each file; `hits` come best first and stay so."""
    best: dict[int, Hit] = {}
    for hit in hits:
        best.setdefault(hit.media_id, hit)
    return list(best.values())
