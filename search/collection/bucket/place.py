"""Where a collection is: a folder of this machine, in it the newest generation; or a bucket with a working copy on this machine.

The rest of `search.collection` works on folders and calls these functions at the moments that matter to a bucket. For a folder that is
no working copy, they do nothing.
"""

import hashlib
import logging
import os
from collections.abc import Collection, Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_path

from media.sources.addresses import is_address, parse_address
from media.sources.remote.faults import UnreachableError
from search.collection.bucket.state import MARKER, State, read_state, write_state
from search.collection.generations.folders import home_of, newest_generation
from search.errors import CollectionError

if TYPE_CHECKING:
    from search.collection.bucket.working_copy import WorkingCopy

_SECONDS_BETWEEN_PULLS = 10.0
_OFFLINE = "%s: %s. The version of this machine is used."
_log = logging.getLogger(__name__)


def local_folder(collection: str | os.PathLike[str]) -> Path:
    """The folder of a collection on this machine: its newest generation, or the working copy of an address. Raises CollectionError."""
    if not is_address(collection):
        return newest_generation(home_of(Path(collection)))
    address = parse_address(collection)
    if not address.startswith("s3://"):
        raise CollectionError(f"{address}: a collection can be in a folder, or in a bucket at s3://. Pictures may be anywhere.")
    folder = user_cache_path("coca-search") / "collections" / hashlib.sha256(address.encode()).hexdigest()[:16]
    if read_state(folder) is None:
        folder.mkdir(parents=True, exist_ok=True)
        write_state(folder, State(address))
    return folder


def newest_folder(collection: str | os.PathLike[str]) -> Path:
    """The folder of a collection, at its newest version, see `pull`. Raises CollectionError, OSError."""
    folder = local_folder(collection)
    pull(folder)
    return folder


def shown(folder: Path) -> str:
    """The address or path of a collection, for messages."""
    state = read_state(folder)
    return state.address if state else str(home_of(folder))


def pull(folder: Path) -> None:
    """Before a collection is opened: bring its working copy to the newest version. Without a network, use what is here.

    Raises OSError if that is nothing, or if there is no permission.
    """
    if copy := _working_copy(folder):
        try:
            copy.pull()
        except UnreachableError as error:
            if not copy.has_collection:
                raise
            _log.warning(_OFFLINE, copy.address, error.strerror)


def refresh(folder: Path) -> None:
    """Before an open collection is asked: as `pull`, but not more often than every ten seconds."""
    if copy := _working_copy(folder):
        try:
            copy.pull(at_most_every=_SECONDS_BETWEEN_PULLS)
        except OSError as error:
            _log.warning(_OFFLINE, copy.address, error.strerror or error)


def begin(folder: Path) -> None:
    """Before a collection is written: keep writers of other machines away, and `pull`. Raises LockedError, OSError."""
    if copy := _working_copy(folder):
        copy.begin()


def push(folder: Path) -> None:
    """After a snapshot was published: make it the newest version in the bucket. Raises LockedError, OSError."""
    if copy := _working_copy(folder):
        copy.push()


def end(folder: Path, *, has_failed: bool) -> None:
    """When a writer ends: push the rest, and let others write. After a failure, it may not be possible to push."""
    if copy := _working_copy(folder):
        try:
            copy.push()
        except (OSError, CollectionError) as error:
            if not has_failed:
                raise
            _log.warning("%s: what was written last is not in the bucket yet (%s). The next run continues from it.", copy.address, error)
        finally:
            copy.end()


def fetch_thumbnails(folder: Path, paths: Iterable[Path]) -> None:
    """Before thumbnails are read. Raises OSError."""
    if copy := _working_copy(folder):
        copy.thumbnails.fetch(paths)


def complete_thumbnails(folder: Path, wanted: Collection[Path]) -> None:
    """Before all thumbnails are checked. Raises OSError."""
    if copy := _working_copy(folder):
        copy.thumbnails.complete(wanted)


def note_removed_thumbnails(folder: Path, media_id: int, keep_sha256: str | None) -> None:
    """After the thumbnails of a file were removed here, except those of one version."""
    if copy := _working_copy(folder):
        copy.thumbnails.note_removed(media_id, keep_sha256)


def _working_copy(folder: Path) -> "WorkingCopy | None":
    if not (folder / MARKER).exists():
        return None
    state = read_state(folder)
    return _opened(folder, state.address) if state else None


@lru_cache(maxsize=16)
def _opened(folder: Path, address: str) -> "WorkingCopy":
    from search.collection.bucket.working_copy import WorkingCopy

    return WorkingCopy(folder, address)
