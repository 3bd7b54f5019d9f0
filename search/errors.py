"""What can go wrong in `search`.

SearchError
├── CollectionError
│   ├── DamagedError          a snapshot that cannot be opened; it is rebuilt
│   ├── NoCollectionError     no collection at this path
│   ├── IncompatibleError     a newer format, damaged files, missing tables
│   │   └── OtherModelError   vectors of another model, or of another version of it
│   ├── LockedError           another process is writing
│   └── StorageError          the disk is full, or may not be written
├── QueryError                a query or filter that cannot be answered
└── ServiceError              the service cannot be reached, or rejected the request
    └── NoServiceError        nothing listens at its address
"""


class SearchError(Exception):
    """Base of every error raised on purpose by `search`."""


class CollectionError(SearchError):
    """A collection that cannot be opened or written."""


class DamagedError(CollectionError):
    """A snapshot whose files are missing, damaged, or do not fit each other. It can be rebuilt."""


class NoCollectionError(CollectionError):
    """There is no collection at this path."""


class IncompatibleError(CollectionError):
    """The collection was made by a newer program, or is damaged or not whole. See also OtherModelError."""


class OtherModelError(IncompatibleError):
    """The vectors of the collection were made with another model, or with another version of it."""


class LockedError(CollectionError):
    """Another process is writing to the collection."""


class StorageError(CollectionError):
    """The disk of the collection is full, fails, or may not be written."""


class QueryError(SearchError):
    """A query or filter that cannot be answered."""


class ServiceError(SearchError):
    """The service cannot be reached, or rejected the request."""


class NoServiceError(ServiceError):
    """Nothing listens at the address of the service."""
