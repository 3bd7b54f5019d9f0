"""coca-search: find pictures, and moments in videos, by what you remember of them.

    from coca_search import index, search

Names are imported when first used, so `import coca_search` loads neither torch nor lancedb nor pyarrow.
"""

import importlib
from typing import Any

from coca_search.shadowing import refuse_shadowed_packages

refuse_shadowed_packages()

_HOME = {
    "CocaModelError": "coca_model",
    "Hits": "search",
    "IndexerError": "indexer",
    "MediaError": "media",
    "SearchError": "search",
    "index": "indexer",
    "load": "coca_model",
    "open_collection": "search",
    "search": "search",
    "search_many": "search",
}
__all__ = ["__version__", *_HOME]  # noqa: PLE0604 the stub lists the same names


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("coca-search")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
