"""What the schema of an exported Parquet file says of its collection: the format, the model of the vectors, the folders of the roots."""

import json

import pyarrow as pa

from search.collection.identity import FORMAT_VERSION, Identity
from search.errors import IncompatibleError
from search.request import MAX_WIDTH

KEY = b"coca_search"
_PART = b"coca_search_part"
_TEXTS = ("collection_id", "model", "model_id", "preprocessing_id")
_NAMES = ("format_version", *_TEXTS, "embedding_width", "roots")


def about(identity: Identity, *, is_part: bool = False) -> dict[bytes, bytes]:
    """The metadata of the schema. `is_part`: segments were chosen, so those of a film may be missing."""
    return {KEY: json.dumps({name: getattr(identity, name) for name in _NAMES}).encode()} | ({_PART: b"1"} if is_part else {})


def is_part(schema: pa.Schema) -> bool:
    """Whether segments of films may be missing."""
    return _PART in (schema.metadata or {})


def identity_of(schema: pa.Schema) -> Identity | None:
    """The collection that a file was exported from; None if another program wrote it.

    Raises:
        IncompatibleError: a newer format. KeyError, TypeError, ValueError: the metadata is damaged.
    """
    text = (schema.metadata or {}).get(KEY)
    if text is None:
        return None
    raw = {name: json.loads(text)[name] for name in _NAMES}
    texts = [raw[name] for name in _TEXTS] + [text for root in dict(raw["roots"]).items() for text in root]
    if (
        not all(isinstance(each, str) for each in texts)
        or type(raw["embedding_width"]) is not int
        or type(raw["format_version"]) is not int
    ):
        raise ValueError(f"the value of `{KEY.decode()}` in the metadata of its schema is damaged")
    if not 0 < raw["embedding_width"] <= MAX_WIDTH:
        raise ValueError(f"an embedding width of {raw['embedding_width']}")
    if raw["format_version"] > FORMAT_VERSION:
        raise IncompatibleError(f"Format {raw['format_version']} is newer than this program's ({FORMAT_VERSION}). Upgrade coca-search.")
    return Identity(**raw)
