"""Errors of the disk while a collection is written, as one sentence that says what to do."""

import errno
import functools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

from media.sources.addresses import is_address
from search.collection.bucket.place import shown
from search.errors import StorageError

P = ParamSpec("P")
R = TypeVar("R")
_IN_TEXT = re.compile(r"\(os error (\d+)\)")  # Lance tells the number in its message
_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_RIGHTS = {errno.EROFS, errno.EACCES, errno.EPERM}


class _WithPath(Protocol):
    path: Any


W = TypeVar("W", bound=_WithPath)


def writes(method: Callable[Concatenate[W, P], R]) -> Callable[Concatenate[W, P], R]:
    """For a method of a writer: an error of the disk becomes a StorageError."""

    @functools.wraps(method)
    def wrapped(self: W, *args: P.args, **named: P.kwargs) -> R:
        with storage_errors(self.path):
            return method(self, *args, **named)

    return cast("Callable[Concatenate[W, P], R]", wrapped)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """An error of the disk in the block becomes a StorageError."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # Lance and FAISS raise RuntimeError
        raise storage_error(path, error) from error


def storage_error(path: Path, error: OSError | RuntimeError) -> StorageError:
    """What went wrong with the disk or bucket of a collection, and what to do."""
    if isinstance(error, OSError) and is_address(str(error.filename)):
        return StorageError(f"{error.filename}: the collection cannot be written. {error.strerror}. What was committed before is kept.")
    found = _IN_TEXT.search(str(error))
    number = int(found[1]) if found else getattr(error, "errno", None)
    reason = os.strerror(number) if number else (str(error).splitlines() or [repr(error)])[0]
    advice = "Run the same command again."
    if number in _SPACE:
        advice = "Make room on that disk, then run the same command again."
    elif number in _RIGHTS:
        advice = "Make sure that you may write there, or use another --collection directory."
    return StorageError(f"{shown(path)}: the collection cannot be written ({reason}). What was committed before is kept. {advice}")
