"""Takes files with their vectors into a collection: from a merge or an import, without the model."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from media.sources.addresses import is_address
from search.collection import CollectionWriter, Failure, FileRows, Identity, read_identity
from search.collection.identity import is_below
from search.collection.lance_tables import SEGMENTS, LanceTable
from search.collection.migrations import migrate_for_reading
from search.errors import NoCollectionError
from search.schema import new_media_id

if TYPE_CHECKING:
    from coca_model import Encoder


@dataclass
class TakenIn:
    """What an import or a merge did. Each count is of files, and `skipped` counts by reason; `examples` holds one file for each."""

    num_new: int = 0
    num_replaced: int = 0
    num_known: int = 0
    num_failures: int = 0
    num_without_thumbnails: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def skip(self, uri: str, reason: str) -> None:
        self.skipped[reason] += 1
        self.examples.setdefault(reason, uri)


class Intake:
    """Adds files to a collection that is open for writing. About 300 bytes of memory for each file that the collection holds."""

    def __init__(self, writer: CollectionWriter, on_progress: Callable[[int], None] | None = None) -> None:
        """`on_progress` is called with the number of files so far."""
        self.report = TakenIn()
        self._writer, self._on_progress = writer, on_progress or (lambda _: None)
        self._known: dict[str, tuple[int, datetime]] = {}  # uri -> media id, when it was indexed
        for batch in LanceTable(writer.path, SEGMENTS).batches(["media_id", "root_id", "path", "indexed_at"]):
            for row in batch.to_pylist():
                self._known[writer.identity.uri_of(row["root_id"], row["path"])] = row["media_id"], row["indexed_at"]
        self._used = {media_id for media_id, _ in self._known.values()}

    def wants(self, uri: str, indexed_at: datetime | None = None) -> bool:
        """Whether a file is new here, or was indexed later than the collection's version of it. Counts it otherwise."""
        known = self._known.get(uri)
        wanted = known is None or (indexed_at is not None and indexed_at > known[1])
        if not wanted:
            self.report.num_known += 1
            self._progress()
        return wanted

    def add(self, uri: str, rows: FileRows) -> None:
        """Add a file that the collection wants. It keeps its media id if no other file has it."""
        known, media_id = self._known.get(uri), rows.file.media_id
        if known is not None:
            media_id = known[0]
        elif media_id in self._used:
            media_id = new_media_id(uri, self._used)
        root_id, path = self._writer.identity.locate(uri)
        file = replace(rows.file, media_id=media_id, root_id=root_id, path=path)
        self._writer.add(replace(rows, file=file))
        self._known[uri] = media_id, file.indexed_at
        self._used.add(media_id)
        self.report.num_new += known is None
        self.report.num_replaced += known is not None
        self.report.num_without_thumbnails += len(rows.thumbnails) < len({segment.frame_seconds for segment in rows.segments})
        self._progress()

    def add_failures(self, failures: Iterable[Failure]) -> None:
        """Add failures of files that are neither indexed here nor failed here."""
        here = {*self._known, *self._writer.known_failures()}
        for failure in failures:
            if failure.uri not in here:
                root_id, path = self._writer.identity.locate(failure.uri)
                self._writer.add_failures([replace(failure, root_id=root_id, path=path)])
                self.report.num_failures += 1

    def _progress(self) -> None:
        done = self.report
        self._on_progress(done.num_new + done.num_replaced + done.num_known + done.skipped.total())


def existing_identity(folder: Path) -> Identity | None:
    """The identity of the collection in a folder, migrated first; None if there is none. Raises IncompatibleError."""
    try:
        migrate_for_reading(folder)
        return read_identity(folder)
    except NoCollectionError:
        return None


def maker_of(identity: Identity) -> "Encoder":
    """Stands for the model of a collection where only its identity counts. So its weights need not be here."""
    config = SimpleNamespace(embedding_width=identity.embedding_width)
    maker = SimpleNamespace(model_id=identity.model_id, preprocessing_id=identity.preprocessing_id, config=config)
    return cast("Encoder", maker)


def moved_uri(uri: str, moved: Mapping[str, str]) -> str:
    """The path of a file now, if the user said that a folder above it moved: {old folder: new folder}. Without `..`."""
    for old, new in moved.items():
        if is_below(uri, old.rstrip(os.sep)):
            uri = new.rstrip(os.sep) + uri[len(old.rstrip(os.sep)) :]
            break
    return uri if is_address(uri) else os.path.normpath(uri)
