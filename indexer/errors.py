"""What can go wrong in `indexer`.

IndexerError
├── SourceError        a folder or file to index does not exist, or contains nothing to index
└── ExchangeError      files to import are damaged or do not fit together, or an export would overwrite something

A single file that cannot be indexed is not an error: it is recorded, counted and shown.
"""


class IndexerError(Exception):
    """Base of every error raised on purpose by `indexer`."""


class SourceError(IndexerError):
    """A folder or file to index does not exist, or contains nothing to index."""


class ExchangeError(IndexerError):
    """Files to import are damaged or do not fit together, or an export would overwrite something."""
