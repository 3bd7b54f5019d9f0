"""Checks a collection: Lance, the snapshot and the thumbnails must agree. Rebuilds snapshot and thumbnails, without embedding again."""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from media import MediaError
from media.hashing import sha256_of_file
from media.moment import picture_at
from media.sources.choose import sha256_of
from media.thumbnails import make_thumbnail
from search.collection.bucket import place
from search.collection.identity import Identity, read_identity, read_raw_identity
from search.collection.lance_tables import FAILURES, SEGMENTS, LanceTable
from search.collection.migrations import migrate
from search.collection.publish import count_kinds, discard, publish
from search.collection.snapshot import ROWS, Snapshot, open_current, read_current
from search.collection.storage import storage_errors
from search.collection.thumbnails import orphaned_thumbnails, thumbnail_of, write_thumbnail
from search.collection.writer_lock import WriterLock
from search.errors import DamagedError
from search.schema import media_id_of_segment
from search.vectors.files import FILES

_ROW_COLUMNS = ["segment_id", "media_id", "root_id", "path", "sha256", "frame_seconds", "vector"]
_UNIT_TOLERANCE = 1e-3
_RESTORE = "Restore the collection from a backup, or index into a new --collection directory."


@dataclass
class Findings:
    """What `verify` found. Both lists hold sentences for the user."""

    num_rows: int = 0
    num_files: int = 0
    problems: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)


def verify(path: str | os.PathLike[str], *, repair: bool = False) -> Findings:
    """Check the rows in Lance, then compare the snapshot and the thumbnails with them.

    Args:
        path: the directory of the collection, or its address in a bucket.
        repair: rebuild the snapshot and missing thumbnails, and remove orphaned thumbnails. Embeds nothing.

    Returns:
        Findings. No problems: the collection is sound. With `repair`, `problems` holds only those that remain.

    Raises:
        NoCollectionError, IncompatibleError: it cannot be opened. LockedError: another process is writing to it.
        StorageError: it may not be written.
    """
    path = place.newest_folder(path)
    read_raw_identity(path)
    with storage_errors(path), WriterLock(path) if repair or os.access(path, os.W_OK) else nullcontext():
        migrate(path)
        identity = read_identity(path)
        segments, failures = LanceTable(path, SEGMENTS), LanceTable(path, FAILURES)
        findings = Findings()
        rows = list(_check_rows(segments, identity, findings))
        num_failed = failures.count()
        wrong = list(_snapshot_problems(path, identity, segments, num_failed))
        if wrong and repair and findings.problems:
            wrong.append("The snapshot was not rebuilt, because the table has problems. Copies of right rows may be in the snapshot only.")
        elif wrong and repair:
            discard(path)
            publish(path, identity, segments, num_failed)
            wrong = list(_snapshot_problems(path, identity, segments, num_failed))
            findings.repaired.append("The snapshot was rebuilt from Lance.")
        findings.problems += wrong
        _check_thumbnails(path, identity, rows, findings, repair=repair)
    return findings


def _check_rows(segments: LanceTable, identity: Identity, findings: Findings) -> Iterator[dict[str, Any]]:
    """Check ids and vectors. Yields each row without its vector."""
    ids: list[NDArray[np.int64]] = []
    media: dict[int, str] = {}
    for batch in segments.batches(_ROW_COLUMNS):
        segment_ids = batch.column("segment_id").to_numpy()
        ids.append(segment_ids)
        vectors = _vectors(batch, identity.embedding_width)
        norms = np.linalg.norm(vectors, axis=1)
        for segment_id in segment_ids[~(np.abs(norms - 1) < _UNIT_TOLERANCE)].tolist():
            findings.problems.append(f"Segment {segment_id}: its vector is not of length 1. {_RESTORE}")
        for row in batch.drop_columns(["vector"]).to_pylist():
            media[row["media_id"]] = identity.uri_of(row["root_id"], row["path"])
            if media_id_of_segment(row["segment_id"]) != row["media_id"]:
                findings.problems.append(f"Segment {row['segment_id']}: it belongs to another file than its media id says. {_RESTORE}")
            if row["root_id"] not in {"", *identity.roots}:
                findings.problems.append(f"Segment {row['segment_id']}: collection.json has no root {row['root_id']}. {_RESTORE}")
            yield row
    every = np.concatenate([np.zeros(0, np.int64), *ids])
    findings.num_rows, findings.num_files = len(every), len(media)
    if len(np.unique(every)) != len(every):
        findings.problems.append(f"{len(every) - len(np.unique(every))} segment ids occur twice. {_RESTORE}")
    if len(set(media.values())) != len(media):
        advice = "Remove the root that holds the older rows with: coca-search roots remove ID"
        findings.problems.append(f"{len(media) - len(set(media.values()))} files are in the collection twice. {advice}")


def _snapshot_problems(path: Path, identity: Identity, segments: LanceTable, num_failed: int) -> Iterator[str]:
    """What is wrong with the current snapshot, in sentences."""
    current = read_current(path)
    if current is None:
        yield "There is no current snapshot."
        return
    if current.collection_id != identity.collection_id:
        yield "The current snapshot belongs to another collection."
    if current.version != segments.version:
        yield f"The current snapshot is of version {current.version}, and the table of version {segments.version}."
    if current.num_failed != num_failed:
        yield f"The current snapshot counts {current.num_failed} failed files, and the table {num_failed}."
    try:
        snapshot = open_current(path, identity, current)
    except DamagedError as error:
        yield f"The current snapshot cannot be opened ({error})."
        return
    folder = path / "snapshots" / str(current.version)
    checksums = snapshot.statistics.sha256
    for name in dict.fromkeys([ROWS, *FILES, *checksums]):
        if checksums.get(name) != (sha256_of_file(folder / name) if (folder / name).is_file() else None):
            yield f"{name} of the current snapshot is damaged: its checksum differs."
    if current.version == segments.version:
        yield from _differences(snapshot, segments)


def _differences(snapshot: Snapshot, segments: LanceTable) -> Iterator[str]:
    """Where the rows and the index of a snapshot differ from the table."""
    if snapshot.statistics.counts != count_kinds(segments):
        yield "The snapshot counts other numbers of pictures, moments or videos than the table."
    if len(snapshot) != segments.count():
        yield f"The snapshot holds {len(snapshot)} rows, and the table {segments.count()}."
        return
    for batch in segments.batches(["segment_id", "vector"]):
        ids = batch.column("segment_id").to_numpy()
        positions = np.minimum(snapshot.positions(ids), len(snapshot) - 1)
        if not np.array_equal(snapshot.segment_ids[positions], ids):
            yield "The snapshot lacks segments of the table."
            return
        if not np.array_equal(snapshot.index.vectors(positions), _vectors(batch, snapshot.identity.embedding_width)):
            yield "The index holds other vectors than the table."
            return


def _check_thumbnails(path: Path, identity: Identity, rows: list[dict[str, Any]], findings: Findings, *, repair: bool) -> None:
    wanted = {thumbnail_of(path, row): row for row in rows if row["sha256"]}  # none for a file that was imported without being there
    place.complete_thumbnails(path, wanted)
    broken = {file: row for file, row in wanted.items() if not _is_whole_webp(file)}
    made = sum(repair and _make_thumbnail(file, row, identity) for file, row in broken.items())
    orphans = list(orphaned_thumbnails(path, wanted))
    if repair:
        for orphan in orphans:
            orphan.unlink(missing_ok=True)
    if made:
        findings.repaired.append(f"{made} thumbnails were rebuilt.")
    if len(broken) > made:
        findings.problems.append(f"{len(broken) - made} thumbnails are missing or damaged.")
    if orphans and repair:
        findings.repaired.append(f"{len(orphans)} thumbnails that no row refers to were removed.")
    elif orphans:
        findings.problems.append(f"{len(orphans)} thumbnails belong to no row.")


def _is_whole_webp(file: Path) -> bool:
    """Whether the file is a WebP with the length in its header."""
    try:
        with file.open("rb") as stream:
            head = stream.read(12)
        return head[:4] == b"RIFF" and head[8:] == b"WEBP" and int.from_bytes(head[4:8], "little") + 8 == file.stat().st_size
    except OSError:
        return False


def _make_thumbnail(file: Path, row: dict[str, Any], identity: Identity) -> bool:
    """Make a thumbnail from its file. Returns False if that is impossible, for example because the file has changed."""
    uri = identity.uri_of(row["root_id"], row["path"])
    try:
        if sha256_of(uri) != row["sha256"]:
            return False
        write_thumbnail(file, make_thumbnail(picture_at(uri, row["frame_seconds"])))
    except (OSError, MediaError):
        return False
    return True


def _vectors(batch: Any, width: int) -> NDArray[np.float32]:
    vectors: NDArray[np.float32] = batch.column("vector").flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return vectors
