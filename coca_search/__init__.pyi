from coca_model import CocaModelError, load
from indexer import IndexerError, index
from media import MediaError
from search import Hits, SearchError, open_collection, search, search_many

__version__: str

__all__ = [
    "CocaModelError",
    "Hits",
    "IndexerError",
    "MediaError",
    "SearchError",
    "__version__",
    "index",
    "load",
    "open_collection",
    "search",
    "search_many",
]
