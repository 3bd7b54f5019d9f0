"""Hashes files on threads: reading waits for the disk, and hashing does not hold the interpreter."""

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor, as_completed

from media.sources.choose import sha256_of

OnCheck = Callable[[int, int], None]  # files read, files to read
_THREADS = 8


def hash_files(uris: Collection[str], on_check: OnCheck | None = None) -> dict[str, str]:
    """SHA-256 by uri. Files that cannot be read are left out; they fail again when they are processed, which records why."""
    found: dict[str, str] = {}
    if not uris:
        return found
    pool = ThreadPoolExecutor(min(_THREADS, len(uris)))
    try:
        pending = {pool.submit(_sha256, uri): uri for uri in dict.fromkeys(uris)}
        for done, future in enumerate(as_completed(pending), start=1):
            if sha256 := future.result():
                found[pending[future]] = sha256
            if on_check:
                on_check(done, len(pending))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return found


def _sha256(uri: str) -> str | None:
    try:
        return sha256_of(uri)
    except OSError:
        return None
