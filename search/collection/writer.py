"""A collection on disk, for writing: one writer at a time, one commit for each change.

The writer manages all that is stored of a file: rows, thumbnails and failure. If the process is killed, the last commit stays readable.
Thumbnails are written before the commit that refers to them, and removed after a snapshot without them is published.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from media.atomic_write import PARTIAL
from search.collection.bucket import place
from search.collection.generations.folders import remove_older
from search.collection.identity import Identity, read_identity, write_identity
from search.collection.lance_tables import FAILURES, SEGMENTS, LanceTable, in_list, quoted
from search.collection.migrations import migrate
from search.collection.publish import publish
from search.collection.rows import Failure, FileRows, KnownFile, failure_rows, from_manifest, known_failures, known_files, segment_rows
from search.collection.storage import writes
from search.collection.thumbnails import orphaned_thumbnails, remove_thumbnails, thumbnail_of, thumbnail_path, write_thumbnail
from search.collection.writer_lock import WriterLock
from search.errors import IncompatibleError
from search.schema import TAKEN, failure_schema, segment_schema

if TYPE_CHECKING:
    from coca_model import Encoder

_OF_A_PLACE = ("root_id", "path", "mtime", "revision")
_ROWS_PER_COMMIT = 1024
_SECONDS_PER_COMMIT = 15.0
_PUBLISH_SHARE = 0.05  # the share of a long run that may be spent on snapshots
_LEAST_SECONDS_BETWEEN_SNAPSHOTS = 60.0


class CollectionWriter:
    """The one writer of a collection: `with CollectionWriter(path, encoder, model=...) as writer`.

    `add` and `add_failures` buffer, and commit from time to time. `finish` commits the rest and publishes a snapshot.

    Args:
        path: the folder of the collection.
        encoder: the model. None opens an existing collection without it; then `check` the model before you add rows.
        model: what `coca_model.load` takes.

    Raises on entering:
        LockedError: another process is writing; the message names it.
        OtherModelError: the collection holds vectors of another model. IncompatibleError: it has a newer format.
        StorageError: it may not be written.
    """

    def __init__(self, path: Path, encoder: "Encoder | None", *, model: str) -> None:
        self.path, self._encoder, self._model = path, encoder, model
        self._lock = WriterLock(path)
        self._files: list[FileRows] = []
        self._failures: list[Failure] = []
        self._broken: list[int] = []  # media ids of files whose rows go with the next commit
        self._outdated: dict[int, str | None] = {}  # media id -> hash of the version whose thumbnails stay
        self._had_rows: set[int] | None = None  # media ids, if they were asked for; only these can have older thumbnails
        self._num_waiting = 0  # rows that were added and not committed
        self._last_commit = self._last_publish = time.monotonic()
        self._publish_seconds = 0.0
        self.num_rows = 0

    @writes
    def __enter__(self) -> "CollectionWriter":
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock.__enter__()
        try:
            self._open()
        except BaseException:
            self._lock.release(has_failed=True, keeps_note=self._lock.was_interrupted)
            raise
        return self

    def _open(self) -> None:
        is_new = not (self.path / "collection.json").exists()
        if not is_new:
            migrate(self.path)
            self.identity = read_identity(self.path)
            if self._encoder is not None:
                self.check(self._encoder)
        else:
            assert self._encoder is not None, "a new collection needs its model"
            self.identity = Identity.of(self._encoder, self._model)
        width = self.identity.embedding_width
        self._segments = LanceTable(self.path, SEGMENTS, segment_schema(width))
        self._failed = LanceTable(self.path, FAILURES, failure_schema())
        self._first_version = self._segments.version, self._failed.version
        if is_new:  # collection.json last: a reader that finds it must find the rest
            if self._segments.count():
                raise IncompatibleError(f"{self.path}: has rows but no collection.json. Restore it, or index into a new directory.")
            publish(self.path, self.identity, self._segments, 0)
            self._last_publish = -math.inf  # so that the first pictures are found soon
        elif self.identity.model == self._model:
            return
        write_identity(self.path, replace(self.identity, model=self._model))
        self.identity = replace(self.identity, model=self._model)

    @writes
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lock.release(has_failed=kind is not None, keeps_note=kind is not None)

    def check(self, encoder: "Encoder") -> None:
        """Raises OtherModelError if the vectors of `encoder` cannot be compared with those of the collection."""
        self.identity.check(encoder, self.path, model=self._model)

    @writes
    def update_identity(self, identity: Identity) -> None:
        """Write a changed identity, such as one with another root."""
        if identity != self.identity:
            write_identity(self.path, identity)
            self.identity = identity

    def add_roots(self, folders: Iterable[str], *, mounts: Iterable[str] = ()) -> None:
        """Make each folder a root, unless a root already contains it; and each of `mounts`, which are drives of their own."""
        identity = self.identity
        for folder in folders:
            identity = identity.with_root(folder)
        for folder in mounts:
            identity = identity.with_root(folder, is_mount=True)
        self.update_identity(identity)

    def known_files(self) -> dict[str, KnownFile]:
        """Every indexed file by its uri."""
        files = known_files(self._segments, self.identity)
        self._had_rows = {file.media_id for file in files.values()}
        return files

    def known_failures(self) -> dict[str, Failure]:
        """Every failed file by its uri."""
        return known_failures(self._failed, self.identity)

    def from_manifest(self, media_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
        """The columns that a manifest filled, of the indexed files among these."""
        return from_manifest(self._segments, media_ids)

    @writes
    def add(self, rows: FileRows) -> None:
        """Replace all that the collection stores of a file."""
        for seconds, webp in rows.thumbnails.items():
            write_thumbnail(thumbnail_path(self.path, rows.file.media_id, rows.file.sha256, seconds), webp)
        self._files.append(rows)
        self._num_waiting += len(rows.segments)
        self._commit_if_due()

    @writes
    def add_failures(self, failures: Iterable[Failure], *, broken: Iterable[int] = ()) -> None:
        """Record files that could not be indexed. `broken` holds the media ids of those whose older rows are removed."""
        self._failures.extend(failures)
        self._broken.extend(broken)
        self._commit_if_due()

    @writes
    def relocate(self, files: Iterable[KnownFile], columns_of: Callable[[KnownFile, str | None], Mapping[str, Any]]) -> None:
        """Update root, path, mtime and revision of files that were moved or touched. One commit.

        Args:
            files: the files as they are now.
            columns_of: a file, and where its time was read, to other columns that change. They are among those of `TAKEN`.
        """
        now = {file.media_id: file for file in files}
        if not now:
            return
        rows = self._segments.read(["segment_id", "media_id", *TAKEN])
        table = rows.filter(pc.is_in(rows["media_id"], pa.array(list(now), pa.int64())))
        changed = []
        for row in table.to_pylist():
            file = now[row["media_id"]]
            columns = {name: getattr(file, name) for name in _OF_A_PLACE}
            changed.append({**row, **columns, **columns_of(file, row["taken_at_source"])})
        schema = pa.schema([self._segments.schema.field(name) for name in ("segment_id", *TAKEN, *_OF_A_PLACE)])
        self._segments.update(pa.Table.from_pylist(changed, schema=schema), key="segment_id")

    @writes
    def remove(self, media_ids: Iterable[int]) -> None:
        """Remove files: their rows in one commit, their thumbnails with the next snapshot."""
        if ids := list(media_ids):
            self._segments.delete(in_list("media_id", ids))
            self._outdated.update(dict.fromkeys(ids))

    @writes
    def forget_failures(self, failures: Sequence[Failure]) -> None:
        """Delete failures of files that are now indexed or gone. One commit for each root."""
        for root_id in {failure.root_id for failure in failures}:
            paths = in_list("path", [failure.path for failure in failures if failure.root_id == root_id])
            self._failed.delete(f"root_id = {quoted(root_id)} AND {paths}")

    @writes
    def commit(self) -> None:
        """Write what was added. Rows come first, so after a crash between the commits, only failing files are tried again."""
        self.remove(self._broken)
        before = self.known_failures() if self._files or self._failures else {}
        if self._files:
            rows = segment_rows(self._files, self._segments.schema)
            ids = in_list("media_id", [each.file.media_id for each in self._files])
            self._segments.replace(rows, key="segment_id", stale=ids)
            added = {each.file.media_id: each.file.sha256 for each in self._files}
            had_rows = added if self._had_rows is None else {each for each in added if each in self._had_rows or each in self._outdated}
            self._outdated.update((media_id, added[media_id]) for media_id in had_rows)
            if self._had_rows is not None:
                self._had_rows.update(added)
            self.num_rows += rows.num_rows
            uris = {self.identity.uri_of(each.file.root_id, each.file.path) for each in self._files}
            self.forget_failures([failure for uri, failure in before.items() if uri in uris])
        if self._failures:
            now = datetime.now(UTC)
            counted = [_again(failure, before.get(failure.uri), now) for failure in self._failures]
            self._failed.replace(failure_rows(counted, self._failed.schema), key=["root_id", "path"])
        self._files, self._failures, self._broken, self._num_waiting = [], [], [], 0
        self._last_commit = time.monotonic()

    @writes
    def finish(self) -> None:
        """Commit the rest, compact the tables, and publish a snapshot."""
        self.commit()
        for table, version in zip((self._segments, self._failed), self._first_version, strict=True):
            table.compact(since_version=version)
        self.publish()
        if self._lock.was_interrupted:
            self._sweep()

    @writes
    def publish(self) -> None:
        """Publish a snapshot of what was committed, then remove thumbnails of older versions of files."""
        since = time.monotonic()
        publish(self.path, self.identity, self._segments, self._failed.count(), encoder=self._encoder)
        for media_id, sha256 in self._outdated.items():
            remove_thumbnails(self.path, media_id, keep_sha256=sha256)
        self._outdated = {}
        place.push(self.path)
        self._last_publish = time.monotonic()
        self._publish_seconds = self._last_publish - since

    def _sweep(self) -> None:
        """Remove what a killed run left: thumbnails that no row refers to, unfinished files, and an older generation."""
        rows = self._segments.read(["media_id", "sha256", "frame_seconds"]).to_pylist()
        leftovers = [*orphaned_thumbnails(self.path, [thumbnail_of(self.path, row) for row in rows]), *self.path.glob(f"*{PARTIAL}")]
        for file in leftovers:
            file.unlink(missing_ok=True)
        remove_older(self.path)

    def _commit_if_due(self) -> None:
        if self._num_waiting < _ROWS_PER_COMMIT and time.monotonic() - self._last_commit < _SECONDS_PER_COMMIT:
            return
        self.commit()
        if time.monotonic() - self._last_publish > max(_LEAST_SECONDS_BETWEEN_SNAPSHOTS, self._publish_seconds / _PUBLISH_SHARE):
            self.publish()


def _again(failure: Failure, before: Failure | None, now: datetime) -> Failure:
    attempts = before.attempts + 1 if before else 1
    return replace(failure, attempts=attempts, last_tried_at=now)
