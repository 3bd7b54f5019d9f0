"""A collection on disk, for reading: one consistent snapshot at a time, many readers.

A reader keeps its snapshot until `refresh`, which also notices if the collection was removed or replaced, or was made anew with another
model.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from coca_model.errors import CheckpointError
from media.file_names import escape
from search.collection.bucket import place
from search.collection.generations.folders import home_of, is_outdated, newest_generation
from search.collection.identity import Identity, default_path, read_identity
from search.collection.lance_tables import FAILURES, SEGMENTS, LanceTable, check_table
from search.collection.migrations import migrate_for_reading
from search.collection.publish import open_snapshot
from search.collection.snapshot import STATISTICS, Snapshot, read_current
from search.errors import CollectionError, OtherModelError
from search.schema import FailureColumns, stored_columns

if TYPE_CHECKING:
    from coca_model import Encoder
    from coca_model.text_encoder import TextEncoder
    from search.vectors.kinds import GpuKind


E = TypeVar("E", "Encoder", "TextEncoder | Encoder")


class Collection:
    """A collection opened for reading. Make one with `open_collection`. Several threads may use it at once."""

    def __init__(self, path: Path, encoder: "Encoder | None", gpu: "GpuKind | None" = None) -> None:
        self.path, self._home, self._gpu = path, home_of(path), gpu
        self._lock = threading.Lock()
        self._encoder = encoder
        self._is_given = encoder is not None
        self._text_encoder: TextEncoder | Encoder | None = None
        self._seen: object = None
        self._snapshot = self._open(may_write=True)

    @property
    def snapshot(self) -> Snapshot:
        """The version that this reader holds. Use one snapshot for a whole answer."""
        return self._snapshot

    @property
    def identity(self) -> Identity:
        return self._snapshot.identity

    @property
    def encoder(self) -> "Encoder":
        """The model of this collection, see `encoder_for`."""
        return self.encoder_for(self._snapshot)

    def encoder_for(self, snapshot: Snapshot) -> "Encoder":
        """The model that made the vectors of a snapshot; loaded at first use.

        Raises:
            CheckpointError: the model is not where it was. OtherModelError: another model, or another version of it, is there now.
        """
        with self._lock:
            if self._encoder is None or not snapshot.identity.fits(self._encoder):
                from coca_model import load  # imports torch, and an index run without changes needs no model

                self._encoder, self._is_given = self._load(snapshot.identity, load), False
            return self._encoder

    def text_encoder_for(self, snapshot: Snapshot) -> "TextEncoder | Encoder":
        """What embeds words for a snapshot, usually without torch: the encoder that was given, or one loaded at first use.

        Raises as `encoder_for`.
        """
        with self._lock:
            if self._is_given and self._encoder is not None and snapshot.identity.fits(self._encoder):
                return self._encoder
            if self._text_encoder is None or not snapshot.identity.fits(self._text_encoder):
                from coca_model.text_encoder import TextEncoder, text_encoder

                self._text_encoder = self._load(snapshot.identity, text_encoder)
                if not isinstance(self._text_encoder, TextEncoder):
                    self._encoder = self._text_encoder  # the whole model, which pictures need
            return self._text_encoder

    def refresh(self) -> bool:
        """Move to the newest version. Returns whether there was a newer one.

        Raises:
            NoCollectionError: the collection was removed. IncompatibleError: it can no longer be read.
        """
        place.refresh(self.path)
        with self._lock:
            if self._fingerprint() == self._seen:
                return False
            before, self._snapshot = self._snapshot, self._open(may_write=False)
            return (before.identity, before.current) != (self._snapshot.identity, self._snapshot.current)

    def failures(self) -> pa.Table:
        """One row for each file that could not be indexed, with the columns of `FailureColumns` and `uri`."""
        table = LanceTable(self.path, FAILURES)
        rows = table.read([each.name for each in stored_columns(FailureColumns) if each.name in table.schema.names])
        uris = map(escape, self.identity.uris_of(rows["root_id"].to_pylist(), rows["path"].to_pylist()))
        return rows.append_column("uri", pa.array(list(uris), pa.string()))

    def counts(self) -> dict[str, int]:
        """The number of rows of each kind, and of files that failed."""
        return self._snapshot.statistics.counts | {"failed": self._snapshot.current.num_failed}

    def _open(self, *, may_write: bool) -> Snapshot:
        while True:
            self.path = newest_generation(self._home)
            seen = self._fingerprint()
            try:
                identity = read_identity(self.path)
                snapshot = open_snapshot(self.path, identity, may_write=may_write)
                is_same = read_identity(self.path) == identity
            except CollectionError:
                if self._fingerprint() == seen:
                    raise
                continue  # it was deleted or replaced meanwhile
            if is_same:
                self._seen = seen
                return snapshot if self._gpu is None else _on_gpu(snapshot, self._gpu)

    def _fingerprint(self) -> object:
        """Changes whenever the identity or the current snapshot is replaced: small files that are only ever replaced whole."""
        current = read_current(self.path)
        statistics = self.path / "snapshots" / str(current.version if current else "") / STATISTICS
        return _stat(self._home / "collection.json"), _stat(self.path / "collection.json"), current, _stat(statistics)

    def _load(self, identity: Identity, load: "Callable[[str], E]") -> "E":
        try:
            encoder = load(identity.model)
        except CheckpointError as error:
            moved = f"Run coca-search index again, with --model and its new path. {error}"
            raise CheckpointError(f"{place.shown(self.path)}: the model of this collection was not found. {moved}") from error
        try:
            identity.check(encoder, self.path)
        except OtherModelError as error:
            raise OtherModelError(f"{error} Until then, it cannot be searched by words or pictures.") from error
        return encoder


def open_collection(
    path: str | os.PathLike[str] | None = None, *, encoder: "Encoder | None" = None, gpu: "GpuKind | None" = None
) -> Collection:
    """Open a collection for reading. A collection of an older format is migrated first.

    Args:
        path: the folder of the collection, or its address in a bucket; None for the user's default.
        encoder: the model for queries, if already loaded. Otherwise the collection's model is loaded at first use.
        gpu: search on a GPU, by this kind of index, see `search.vectors.on_gpu.to_gpu`. If its memory ends, a warning says so, and the CPU
            searches.

    Raises:
        NoCollectionError: there is none.
        OtherModelError: made with another model than `encoder`. IncompatibleError: a newer format, or missing tables.
        QueryError: there is no GPU, or FAISS is not built for one.
    """
    folder = place.newest_folder(path if path is not None else default_path())
    try:
        migrate_for_reading(folder)
        identity = read_identity(folder)
        for table in (SEGMENTS, FAILURES):
            check_table(folder, table)
    except CollectionError:
        if is_outdated(folder):
            return open_collection(path, encoder=encoder, gpu=gpu)  # it was made anew meanwhile
        raise
    if encoder is not None:
        identity.check(encoder, folder)
    return Collection(folder, encoder, gpu)


def _on_gpu(snapshot: Snapshot, kind: "GpuKind") -> Snapshot:
    from search.vectors.on_gpu import to_gpu

    return replace(snapshot, index=to_gpu(snapshot.index, kind, recall=snapshot.identity.index.recall))


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
