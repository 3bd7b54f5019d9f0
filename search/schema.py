"""The rows of a collection: one a vector, with the columns of its file repeated on each (see docs/collection.md).

One table, not two: a commit to one Lance table is atomic, and a filter on the file needs no join before the search.
"""

import hashlib
from typing import Literal, get_args

import pyarrow as pa

FORMAT_VERSION = 1
METRIC = "cosine"

# image: a picture. shot: one shot of a video. clip: a whole video, the mean of 16 uniformly spaced frames.
Kind = Literal["image", "shot", "clip"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_ORDINAL_BITS = 20
MAX_SEGMENTS_PER_FILE = 1 << _ORDINAL_BITS


def media_id_of(uri: str, salt: int = 0) -> int:
    """The id of a file first seen under `uri`: 43 bits of a hash, so that every run and every worker agrees on it.

    `salt` is raised by the planner in the rare case that another file holds the id already.
    """
    digest = hashlib.blake2b(f"{salt}:{uri}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - 43)


def segment_id_of(media_id: int, ordinal: int) -> int:
    """The id of the segment number `ordinal` of a file: unique because the file's is, and tells the file without a look-up."""
    return media_id << _ORDINAL_BITS | ordinal


def media_id_of_segment(segment_id: int) -> int:
    return segment_id >> _ORDINAL_BITS


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


FILE_FIELDS = (
    _required("uri", pa.string()),
    _required("size_bytes", pa.int64()),
    _required("mtime", pa.float64()),
    _required("sha256", pa.string()),
    _required("width", pa.int32()),
    _required("height", pa.int32()),
    pa.field("duration_seconds", pa.float64()),
    pa.field("taken_at", pa.timestamp("us", "UTC")),
    pa.field("latitude", pa.float64()),
    pa.field("longitude", pa.float64()),
    pa.field("camera", pa.string()),
    _required("indexed_at", pa.timestamp("us", "UTC")),
)


def segment_schema(embedding_width: int) -> pa.Schema:
    """The Arrow schema of `segments.lance`; times in seconds from the start of the video, `[start, end)`, null for a picture."""
    return pa.schema(
        [
            _required("segment_id", pa.int64()),
            _required("media_id", pa.int64()),
            _required("kind", pa.string()),
            pa.field("start_seconds", pa.float64()),
            pa.field("end_seconds", pa.float64()),
            pa.field("frame_seconds", pa.float64()),
            _required("vector", pa.list_(pa.float32(), embedding_width)),
            *FILE_FIELDS,
        ]
    )


FAILURE_SCHEMA = pa.schema(
    [
        _required("uri", pa.string()),
        _required("size_bytes", pa.int64()),
        _required("mtime", pa.float64()),
        _required("stage", pa.string()),
        _required("reason", pa.string()),
        _required("attempts", pa.int32()),
        _required("last_tried_at", pa.timestamp("us", "UTC")),
    ]
)
