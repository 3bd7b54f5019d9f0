"""What a working copy knows of itself: a marker in its folder, with the address of the collection and the version that was pulled."""

import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

from media.atomic_write import atomic_write

MARKER = ".bucket.json"
_AT_ONCE = 8

File = tuple[str, int, int]  # SHA-256, size in bytes, time of change in nanoseconds
T = TypeVar("T")


@dataclass(frozen=True)
class State:
    """The content of the marker.

    Attributes:
        address: where the collection is.
        copy_id: random; tells this copy from those of other machines.
        etag: of the pointer that was pulled or pushed last; empty before.
        files: the files of that version, as they were then.
    """

    address: str
    copy_id: str = field(default_factory=lambda: secrets.token_hex(8))
    etag: str = ""
    files: Mapping[str, File] = field(default_factory=dict)


def read_state(folder: Path) -> State | None:
    """The state of a working copy; None if the folder is none."""
    try:
        raw = json.loads((folder / MARKER).read_text())
        return State(**raw | {"files": {path: tuple(file) for path, file in raw["files"].items()}})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def write_state(folder: Path, state: State) -> None:
    atomic_write(folder / MARKER, json.dumps(asdict(state)))


def size_and_time(path: Path) -> tuple[int, int] | None:
    """Size in bytes and time of change in nanoseconds; None if there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def for_each(call: Callable[[T], object], items: Iterable[T]) -> None:
    """Call for each item, several at once. Raises the first error."""
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        for _ in pool.map(call, items):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
