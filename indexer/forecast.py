"""What it takes to make a collection anew with another model: files, time, room on the disk."""

import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from media.errors import MediaError
from media.sources.addresses import is_address
from search.collection import Collection, read_identity
from search.collection.bucket.place import shown
from search.collection.generations.folders import next_generation, size_of
from search.errors import StorageError

if TYPE_CHECKING:
    from coca_model import Encoder

_SAMPLE = 8  # pictures that are embedded to know the pace
_SPARE = 1.1  # of the size of the old generation


@dataclass(frozen=True)
class Forecast:
    """What it would take. `seconds` is None if no picture of the collection can be read now."""

    num_files: int
    size_bytes: float
    seconds: float | None


def forecast(collection: Collection, encoder: "Encoder") -> Forecast:
    """Embeds a few pictures of the collection. A second of a film counts as one picture."""
    snapshot = collection.snapshot
    num_files = sum(snapshot.files_by_root().values())
    pictures = snapshot.filtered("kind = 'image'")
    films = snapshot.rows(snapshot.filtered("kind = 'clip'"))
    sample = [row["uri"] for row in snapshot.rows(pictures[:: max(1, len(pictures) // _SAMPLE)])]
    paths = [Path(uri) for uri in sample if not is_address(uri)][: _SAMPLE + 1]
    num_done, seconds = 0, 0.0
    for number, path in enumerate(paths):
        with suppress(MediaError, OSError):
            since = time.perf_counter()
            encoder.encode_images([path])
            if number:  # the first one also warms up
                num_done, seconds = num_done + 1, seconds + time.perf_counter() - since
    num_frames = len(pictures) + sum(row["duration_seconds"] or 0.0 for row in films)
    return Forecast(num_files, room_needed(collection.path, encoder), seconds / num_done * num_frames if num_done else None)


def room_needed(folder: Path, encoder: "Encoder") -> float:
    """The bytes that the next generation takes on the disk, beside those that it has already if it was begun."""
    wider = max(1.0, encoder.config.embedding_width / read_identity(folder).embedding_width)
    return max(0.0, _SPARE * wider * size_of(folder) - size_of(next_generation(folder)))


def check_room(folder: Path, encoder: "Encoder") -> None:
    """Raises StorageError if the disk has no room for a second generation."""
    needed, free = room_needed(folder, encoder), shutil.disk_usage(folder).free
    if free < needed:
        raise StorageError(
            f"{shown(folder)}: too little room on the disk. To make the collection anew takes {in_words(needed)} beside the old one, and "
            f"{in_words(free)} are free. Make room, or index into a new --collection directory on another disk."
        )


def in_words(size_bytes: float) -> str:
    """A size such as 3.2 GB or 45 MB."""
    return f"{size_bytes / 1e9:,.1f} GB" if size_bytes >= 1e9 else f"{max(1.0, size_bytes / 1e6):.0f} MB"
