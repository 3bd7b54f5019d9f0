"""Chooses the source of a path or address."""

import os

from media.sources.local import LocalFolders
from media.sources.source import Source


def source_of(path: str | os.PathLike[str]) -> Source:
    """The source that a path or address belongs to."""
    return LocalFolders()
