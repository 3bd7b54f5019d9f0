from .identity import Identity, default_path, read_identity
from .reader import Collection, open_collection
from .rows import Failure, FileRows, KnownFile, Segment
from .writer import CollectionWriter

__all__ = [
    "Collection",
    "CollectionWriter",
    "Failure",
    "FileRows",
    "Identity",
    "KnownFile",
    "Segment",
    "default_path",
    "open_collection",
    "read_identity",
]
