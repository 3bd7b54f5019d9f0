"""A collection on disk, for reading: one directory, one consistent snapshot at a time, many readers.

Lance is the truth and FAISS a cache of it. A reader holds one version of the table and the index of just that version,
and moves to the next only when asked (`refresh`), both at once.
"""

import json
import os
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from platformdirs import user_data_path

from coca_model import CheckpointError, Encoder, load
from media.atomic_write import atomic_write
from search.errors import IncompatibleError, NoCollectionError
from search.lance_tables import LanceTable, is_table
from search.schema import FORMAT_VERSION, METRIC
from search.vector_index import VectorIndex, index_for

SEGMENTS, FAILURES = "segments", "failures"


@dataclass(frozen=True)
class Identity:
    """What the vectors of a collection are, written once when it is made (`collection.json`).

    `model` is what `coca_model.load` takes; `model_id` also names the weights.
    """

    model: str
    model_id: str
    preprocessing_id: str
    embedding_width: int
    metric: str = METRIC
    format_version: int = FORMAT_VERSION

    @staticmethod
    def of(encoder: Encoder, model: str) -> "Identity":
        return Identity(model, encoder.model_id, encoder.preprocessing_id, encoder.config.embedding_width)

    def check(self, encoder: Encoder, path: Path) -> None:
        """Raises IncompatibleError where `encoder` does not make vectors of this collection's kind."""
        for what, mine, theirs in (
            ("model", self.model_id, encoder.model_id),
            ("preprocessing", self.preprocessing_id, encoder.preprocessing_id),
            ("embedding width", self.embedding_width, encoder.config.embedding_width),
        ):
            if str(mine).rsplit("@")[-1] != str(theirs).rsplit("@")[-1]:  # weights are told by their hash: their file may be renamed
                raise IncompatibleError(
                    f"{path}: made with another {what} ({mine}; this one is {theirs}). "
                    "Use the same model, or index into a new --collection directory."
                )


def default_path() -> Path:
    """Where a collection lies when none is named: in the user's data directory."""
    return user_data_path("coca-search") / "collection"


def read_identity(path: Path) -> Identity:
    """Raises NoCollectionError, or IncompatibleError for a newer or unreadable format."""
    file = path / "collection.json"
    try:
        raw = json.loads(file.read_text())
    except FileNotFoundError:
        raise NoCollectionError(
            f"{path}: no collection here. Make one with: coca-search index FOLDER --collection {shlex.quote(str(path))}"
        ) from None
    except (OSError, ValueError) as error:
        raise IncompatibleError(f"{file}: cannot be read ({error}). Restore it, or index into a new --collection directory.") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("format_version"), int):
        raise IncompatibleError(f"{file}: not the identity of a collection. Restore it, or index into a new --collection directory.")
    if raw["format_version"] > FORMAT_VERSION:
        raise IncompatibleError(
            f"{path}: format {raw['format_version']} is newer than this program's ({FORMAT_VERSION}). Upgrade coca-search."
        )
    try:
        return Identity(**raw)
    except TypeError as error:
        raise IncompatibleError(f"{file}: unexpected content ({error}). Restore it, or index into a new --collection directory.") from error


def write_identity(path: Path, identity: Identity) -> None:
    atomic_write(path / "collection.json", json.dumps(asdict(identity), indent=2) + "\n")


@dataclass(frozen=True)
class Snapshot:
    """One version of the rows and the index of just that version."""

    table: LanceTable
    index: VectorIndex
    version: int

    def rows(self, segment_ids: NDArray[np.int64], columns: list[str]) -> pa.Table:
        """The rows of the given segments, in no particular order."""
        return self.table.read_by_id("segment_id", segment_ids.tolist(), columns)

    def allowed(self, where: str) -> NDArray[np.int64]:
        """The ids of the segments that the SQL filter keeps, int64 (n,). Raises QueryError for a bad filter."""
        return self.table.read(["segment_id"], where)["segment_id"].to_numpy()


class Collection:
    """A collection opened for reading. Make one with `open_collection`."""

    def __init__(self, path: Path, identity: Identity, encoder: Encoder | None) -> None:
        self.path, self.identity = path, identity
        self._encoder = encoder
        self._snapshot = self._take_snapshot()

    @property
    def encoder(self) -> Encoder:
        """The model of this collection, loaded at first use.

        Raises:
            CheckpointError: it is no longer where it was. IncompatibleError: another lies there.
        """
        if self._encoder is None:
            try:
                encoder = load(self.identity.model)
            except CheckpointError as error:
                moved = f"Index once more with --model and the place where it lies now. {error}"
                raise CheckpointError(f"{self.path}: the model of this collection is not found. {moved}") from error
            self.identity.check(encoder, self.path)
            self._encoder = encoder
        return self._encoder

    @property
    def snapshot(self) -> Snapshot:
        return self._snapshot

    def refresh(self) -> bool:
        """Move to the newest version. Returns whether there was a newer one."""
        if self._snapshot.table.latest_version() == self._snapshot.version:
            return False
        self._snapshot = self._take_snapshot()
        return True

    def failures(self) -> pa.Table:
        """One row a file that could not be indexed: uri, stage, reason, attempts, last_tried_at."""
        return LanceTable(self.path, FAILURES).read(["uri", "stage", "reason", "attempts", "last_tried_at"])

    def counts(self) -> dict[str, int]:
        """How many rows of each kind, and how many files failed."""
        kinds = {kind: self._snapshot.table.count(f"kind = '{kind}'") for kind in ("image", "shot", "clip")}
        return kinds | {"failed": LanceTable(self.path, FAILURES).count()}

    def _take_snapshot(self) -> Snapshot:
        table = LanceTable(self.path, SEGMENTS)
        table.pin(table.version)
        return Snapshot(table, index_for(table, self.path / "faiss", self.identity.embedding_width), table.version)


def open_collection(path: str | os.PathLike[str] | None = None, *, encoder: Encoder | None = None) -> Collection:
    """Open a collection for reading.

    Args:
        path: its directory; the default one of this user when absent.
        encoder: the model to ask with, if one is loaded already; else the collection's own is loaded at first use.

    Raises:
        NoCollectionError: there is none.
        IncompatibleError: a newer format, another model or preprocessing.
    """
    folder = Path(path) if path is not None else default_path()
    identity = read_identity(folder)
    if not (is_table(folder, SEGMENTS) and is_table(folder, FAILURES)):
        raise IncompatibleError(f"{folder}: its tables are missing. Restore them, or index into a new --collection directory.")
    if encoder is not None:
        identity.check(encoder, folder)
    return Collection(folder, identity, encoder)
