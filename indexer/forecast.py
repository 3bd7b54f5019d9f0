"""What it would take to make a collection anew with another model: files, time, room on the disk."""

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from media.errors import MediaError
from media.sources.addresses import is_address
from search.collection import Collection
from search.collection.generations.folders import size_of

if TYPE_CHECKING:
    from coca_model import Encoder

_SAMPLE = 8  # pictures that are embedded to know the pace


@dataclass(frozen=True)
class Forecast:
    """What it would take. `seconds` is None if no picture of the collection can be read now."""

    num_files: int
    size_bytes: int
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
    return Forecast(num_files, size_of(collection.path), seconds / num_done * num_frames if num_done else None)
