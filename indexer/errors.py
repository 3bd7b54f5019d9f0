"""What can go wrong in `indexer`.

IndexerError
└── SourceError        a folder or file to index that is not there, or holds nothing to index

One file that cannot be read raises `media.errors.MediaError`, which is recorded, counted and shown, and never fatal.
"""

from media.errors import MediaError

__all__ = ["IndexerError", "MediaError", "SourceError"]


class IndexerError(Exception):
    """Base of every error raised on purpose by `indexer`."""


class SourceError(IndexerError):
    """A folder or file to index that is not there, or holds nothing to index."""
