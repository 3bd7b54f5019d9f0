from .errors import IndexerError, SourceError
from .options import IndexOptions
from .report import Report
from .run import index

__all__ = [
    "IndexOptions",
    "IndexerError",
    "Report",
    "SourceError",
    "index",
]
