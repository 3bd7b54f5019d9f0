"""Chooses the source of a path or address."""

import os
from functools import cache

from media.sources.addresses import is_address, parse_address, scheme_of
from media.sources.local import LocalFolders
from media.sources.source import Source


def source_of(path: str | os.PathLike[str]) -> Source:
    """The source that a path or address belongs to. Raises OSError for an address that cannot be used."""
    return _remote(scheme_of(parse_address(path))) if is_address(path) else LocalFolders()


def sha256_of(uri: str) -> str:
    """The hash of a file, as its source makes it. Raises OSError."""
    source = source_of(uri)
    with source.open(uri) as file:
        return source.sha256(uri, file)


@cache
def _remote(scheme: str) -> Source:
    from media.sources.remote.files import RemoteFiles

    if scheme == "s3":
        from media.sources.remote.s3 import s3

        return RemoteFiles(s3())
    if scheme in {"gs", "az"}:
        from media.sources.remote.buckets import Buckets

        return RemoteFiles(Buckets(scheme))
    from media.sources.remote.web import WebServers

    return RemoteFiles(WebServers())
