"""The collection on disk, and `search()` over it.

Names are imported when they are first asked for: the page and the client talk HTTP and must start without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.collection import Collection, open_collection
    from search.engine import search
    from search.errors import IncompatibleError, LockedError, NoCollectionError, QueryError, SearchError
    from search.hits import Hit, Hits

__all__ = [
    "Collection",
    "Hit",
    "Hits",
    "IncompatibleError",
    "LockedError",
    "NoCollectionError",
    "QueryError",
    "SearchError",
    "open_collection",
    "search",
]

_HOME = {
    "Collection": "search.collection",
    "Hit": "search.hits",
    "Hits": "search.hits",
    "IncompatibleError": "search.errors",
    "LockedError": "search.errors",
    "NoCollectionError": "search.errors",
    "QueryError": "search.errors",
    "SearchError": "search.errors",
    "open_collection": "search.collection",
    "search": "search.engine",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
