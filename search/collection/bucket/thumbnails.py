"""The thumbnails of a collection in a bucket. Their names hold the content, so they are never replaced; they are fetched when shown.

A thumbnail of the working copy with the time 0 is in the bucket, too.
"""

import json
import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from search.collection.bucket.objects import Objects
from search.collection.bucket.state import for_each

FOLDER = "thumbnails"
REMOVED = ".removed-thumbnails"  # a line for each file whose thumbnails the next push deletes


class BucketThumbnails:
    """The thumbnails of the working copy in `folder`, and those in the bucket."""

    def __init__(self, folder: Path, objects: Objects) -> None:
        self._folder, self._objects = folder, objects

    def new(self) -> list[Path]:
        """Those that are not in the bucket yet."""
        return [path for path in (self._folder / FOLDER).glob("*/*.webp") if path.stat().st_mtime_ns]

    def upload(self, paths: Iterable[Path]) -> None:
        for_each(self._upload, paths)

    def fetch(self, paths: Iterable[Path]) -> None:
        """Download those that are not here. One that is nowhere is no error."""
        for_each(self._fetch, [path for path in paths if not path.exists()])

    def complete(self, wanted: Collection[Path]) -> None:
        """Download all that are wanted, and forget downloaded ones that are no longer wanted."""
        for path in (self._folder / FOLDER).glob("*/*.webp"):
            if path not in wanted and not path.stat().st_mtime_ns:
                path.unlink()
        self.fetch(wanted)

    def note_removed(self, media_id: int, keep_sha256: str | None) -> None:
        """Note a file whose thumbnails are to be deleted from the bucket, except those of one version."""
        with (self._folder / REMOVED).open("a") as notes:
            notes.write(json.dumps([media_id, f"{media_id}-{keep_sha256[:12]}" if keep_sha256 else ""]) + "\n")

    def delete_removed(self) -> None:
        """Delete what was noted. Call it when the newest version in the bucket is one without them."""
        try:
            notes: dict[int, str] = dict(json.loads(line) for line in (self._folder / REMOVED).read_text().splitlines())
        except (OSError, ValueError, TypeError):
            return
        for number in sorted({media_id % 1000 for media_id in notes}):
            folder = f"{FOLDER}/{number:03d}/"
            self._objects.delete([folder + name for name, _ in self._objects.names(folder) if _is_removed(name, notes)])
        self.forget_removed()

    def forget_removed(self) -> None:
        (self._folder / REMOVED).unlink(missing_ok=True)

    def _upload(self, path: Path) -> None:
        self._objects.upload(path, path.relative_to(self._folder).as_posix())
        os.utime(path, (0, 0))

    def _fetch(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            self._objects.download(path.relative_to(self._folder).as_posix(), path)
            os.utime(path, (0, 0))


def _is_removed(name: str, notes: dict[int, str]) -> bool:
    media_id = name.partition("-")[0]
    keep = notes.get(int(media_id)) if media_id.isdecimal() else None
    return keep is not None and not (keep and name.startswith(keep))
