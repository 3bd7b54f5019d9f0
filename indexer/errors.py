"""What can go wrong in `indexer`.

IndexerError
├── SourceError        a folder or file to index that is not there, or holds nothing to index
└── MediaError         one file that cannot be indexed; recorded, counted and shown, never fatal
"""


class IndexerError(Exception):
    """Base of every error raised on purpose by `indexer`."""


class SourceError(IndexerError):
    """A folder or file to index that is not there, or holds nothing to index."""


class MediaError(IndexerError):
    """One file that cannot be indexed. `stage` is where: read, probe, decode or embed."""

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(reason)
        self.stage, self.reason = stage, reason
