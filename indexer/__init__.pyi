from .errors import IndexerError, SourceError
from .run import IndexOptions, Report, index

__all__ = [
    "IndexOptions",
    "IndexerError",
    "Report",
    "SourceError",
    "index",
]
