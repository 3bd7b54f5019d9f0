"""A collection on disk, for writing: one writer at a time, one commit for each change.

A process killed at any moment leaves the last commit readable, and the next run goes on from there. Thumbnails and the
FAISS file come before and after the commit and are never the truth about anything.
"""

import json
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import pyarrow as pa
from filelock import FileLock, Timeout

from coca_model import Encoder
from search.collection import FAILURES, SEGMENTS, Identity, read_identity, write_identity
from search.errors import LockedError
from search.lance_tables import LanceTable, in_list
from search.schema import FAILURE_SCHEMA, segment_schema
from search.vector_index import index_for


@dataclass(frozen=True)
class KnownFile:
    """A file as the collection knows it."""

    media_id: int
    uri: str
    size_bytes: int
    mtime: float
    sha256: str


@dataclass(frozen=True)
class Failure:
    """A file that could not be indexed; `stage` is where, `reason` a sentence for the user."""

    uri: str
    size_bytes: int
    mtime: float
    stage: str
    reason: str
    attempts: int = 1


class CollectionWriter:
    """The one writer of a collection: `with CollectionWriter(path, encoder, model=...) as writer`.

    Raises on entering:
        LockedError: another process is writing; the message names it.
        IncompatibleError: the collection holds vectors of another model, or has a newer format.
    """

    def __init__(self, path: Path, encoder: Encoder, *, model: str) -> None:
        self.path, self._encoder, self._model = path, encoder, model
        self._lock = FileLock(path / "writer.lock")

    def __enter__(self) -> "CollectionWriter":
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise LockedError(f"{self.path}: {self._owner()} is indexing into it. Wait for it to finish.") from None
        try:
            (self.path / "writer.json").write_text(json.dumps(_this_process()))
            if (self.path / "collection.json").exists():
                read_identity(self.path).check(self._encoder, self.path)
            width = self._encoder.config.embedding_width
            self.segments = LanceTable(self.path, SEGMENTS, segment_schema(width))
            self._failures = LanceTable(self.path, FAILURES, FAILURE_SCHEMA)
            if not (self.path / "collection.json").exists() or read_identity(self.path).model != self._model:
                write_identity(self.path, Identity.of(self._encoder, self._model))
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lock.release()

    def known_files(self) -> dict[str, KnownFile]:
        """Every indexed file by its uri."""
        known: dict[str, KnownFile] = {}
        for batch in self.segments.batches(["media_id", "uri", "size_bytes", "mtime", "sha256"]):
            for row in batch.to_pylist():
                known.setdefault(row["uri"], KnownFile(**row))
        return known

    def known_failures(self) -> dict[str, Failure]:
        """Every failed file by its uri."""
        rows = self._failures.read(["uri", "size_bytes", "mtime", "stage", "reason", "attempts"])
        return {row["uri"]: Failure(**row) for row in rows.to_pylist()}

    def replace(self, rows: pa.Table) -> None:
        """Write the rows of some files, all rows of each; what the collection had of these files before goes. One commit."""
        if rows.num_rows:
            files = in_list("media_id", rows["media_id"].unique().to_pylist())
            self.segments.replace(rows.cast(self.segments.schema), key="segment_id", stale=files)

    def relocate(self, files: Iterable[KnownFile]) -> None:
        """Files whose bytes are known, under the uri and mtime they have now: moved or only touched. One commit."""
        now = {file.media_id: file for file in files}
        if not now:
            return
        rows = self.segments.read_by_id("media_id", list(now), self.segments.schema.names)
        media = rows["media_id"].to_pylist()
        for name in ("uri", "mtime"):
            place = rows.schema.get_field_index(name)
            values = pa.array([getattr(now[media_id], name) for media_id in media], rows.schema.field(name).type)
            rows = rows.set_column(place, rows.schema.field(name), values)
        self.segments.replace(rows, key="segment_id")

    def remove(self, media_ids: Iterable[int]) -> None:
        """Files that are gone. One commit."""
        if ids := list(media_ids):
            self.segments.delete(in_list("media_id", ids))

    def record_failures(self, failures: Iterable[Failure]) -> None:
        """Remember files that could not be indexed; a file that failed before counts one attempt more. One commit."""
        before = self.known_failures()
        now = datetime.now(UTC)
        rows = [
            {**vars(failure), "attempts": before[failure.uri].attempts + 1 if failure.uri in before else 1, "last_tried_at": now}
            for failure in failures
        ]
        if rows:
            self._failures.replace(pa.Table.from_pylist(rows, schema=FAILURE_SCHEMA), key="uri")

    def forget_failures(self, uris: Iterable[str]) -> None:
        """Files that are indexed now, or gone. One commit."""
        if names := list(uris):
            self._failures.delete(in_list("uri", names))

    def finish(self) -> None:
        """Compact the tables, and make the FAISS index of what is there now."""
        self.segments.compact()
        self._failures.compact()
        index_for(self.segments, self.path / "faiss", self._encoder.config.embedding_width)

    def _owner(self) -> str:
        try:
            owner = json.loads((self.path / "writer.json").read_text())
            return f"process {owner['pid']} on {owner['host']}, since {owner['since']},"
        except (OSError, ValueError, KeyError):
            return "another process"


def _this_process() -> dict[str, object]:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
