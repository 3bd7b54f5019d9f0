"""Where the generations of a collection lie, and the step from one to the next.

    collection.json        the first generation, with its tables beside it; or `{"format_version": 3, "generation": "generation-2"}`
    generation-2/          a later one: a whole collection, also while it is built

`collection.json` is replaced atomically. So readers see the old generation or the new one, and a killed process leaves one of them.
"""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from media.atomic_write import atomic_write

_FORMAT = 3  # programs that do not know generations say that they are too old
_NAME = re.compile(r"generation-([1-9]\d{0,8})")
_FILES_OF_FIRST = ("current", "writer.json")
_FOLDERS_OF_FIRST = ("thumbnails", "snapshots", "faiss", "failures.lance", "segments.lance")  # scans know a collection by the last one


def newest_generation(home: Path) -> Path:
    """The folder of the generation that `collection.json` names: `home` itself for the first one, and if there is no collection."""
    try:
        raw = json.loads((home / "collection.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return home  # `read_identity` says what is wrong
    name = raw.get("generation") if isinstance(raw, dict) else None
    return home / name if isinstance(name, str) and _NAME.fullmatch(name) else home


def home_of(folder: Path) -> Path:
    """The folder of a collection as the user knows it, by the folder of one of its generations."""
    named = folder if folder.name not in {"", ".."} else folder.resolve()  # such as "." in the folder of a generation
    return named.parent if _NAME.fullmatch(named.name) and (named.parent / "collection.json").exists() else folder


def next_generation(folder: Path) -> Path:
    """The folder of the generation after that in `folder`, which may not exist yet."""
    return home_of(folder) / f"generation-{_number(folder) + 1}"


def is_outdated(folder: Path) -> bool:
    """Whether a newer generation has replaced that in `folder`."""
    return _number(folder) < _number(newest_generation(home_of(folder)))


def switch_to(folder: Path) -> None:
    """Make the generation in `folder` the newest one. Only the holder of the writer's lock of the old one may call this.

    Its files are on the disk before that, and the change is there afterwards. So a power failure leaves the old generation or the new one.
    """
    home = home_of(folder)
    os.sync()  # once for all: there may be a million thumbnails
    atomic_write(home / "collection.json", json.dumps({"format_version": _FORMAT, "generation": folder.name}, indent=2) + "\n")
    _sync_folder(home)


def remove_older(folder: Path) -> None:
    """Remove the generations before that in `folder`, if it is the newest one. Open readers keep the files of their snapshot."""
    home = home_of(folder)
    if folder == home or newest_generation(home) != folder:
        return
    for older in home.glob("generation-*"):
        if _NAME.fullmatch(older.name) and _number(older) < _number(folder):
            remove(older)
    for name in _FILES_OF_FIRST:
        (home / name).unlink(missing_ok=True)
    for name in _FOLDERS_OF_FIRST:
        shutil.rmtree(home / name, ignore_errors=True)


def remove(folder: Path) -> None:
    """Remove a generation that is not the newest one. Its thumbnails go first: without `collection.json`, a scan would take them."""
    for each in (folder / "thumbnails", folder):
        shutil.rmtree(each, ignore_errors=True)


def size_of(folder: Path) -> int:
    """The bytes of the files of one generation."""
    return sum(_sizes(folder))


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # as of some network disks
            raise
    finally:
        os.close(opened)


def _sizes(folder: Path) -> Iterator[int]:
    for parent, folders, files in os.walk(folder):
        if Path(parent) == folder:
            folders[:] = [name for name in folders if not _NAME.fullmatch(name)]
        for name in files:
            try:
                yield os.stat(os.path.join(parent, name)).st_size  # noqa: PTH118 - there may be a million
            except FileNotFoundError:
                continue


def _number(folder: Path) -> int:
    found = _NAME.fullmatch(folder.name)
    return int(found[1]) if found and home_of(folder) != folder else 1
