from .collection import Collection, open_collection
from .engine import search, search_many
from .errors import IncompatibleError, NoCollectionError, QueryError, SearchError
from .hits import Hit, Hits

__all__ = [
    "Collection",
    "Hit",
    "Hits",
    "IncompatibleError",
    "NoCollectionError",
    "QueryError",
    "SearchError",
    "open_collection",
    "search",
    "search_many",
]
