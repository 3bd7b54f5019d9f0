"""Folders to rows of a collection.

Names are imported when they are first asked for: the video worker is a process of this package and starts without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from indexer.errors import IndexerError, SourceError
    from indexer.run import IndexOptions, Report, index

__all__ = [
    "IndexOptions",
    "IndexerError",
    "Report",
    "SourceError",
    "index",
]

_HOME = {
    "IndexOptions": "indexer.run",
    "IndexerError": "indexer.errors",
    "Report": "indexer.run",
    "SourceError": "indexer.errors",
    "index": "indexer.run",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
