"""Numbered migrations: one function for each step from a format to the next.

A step can be killed at any moment and started again: it first writes `migrating_from` to `collection.json`, and removes it last.
From then on, an older program refuses the collection with an error.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock

from search.collection.identity import FORMAT_VERSION, Identity, new_collection_id, read_identity, read_raw_identity, write_identity
from search.collection.lance_tables import FAILURES, SEGMENTS, LanceTable
from search.collection.publish import WRITER_LOCK, publish
from search.collection.thumbnails import thumbnail_of
from search.errors import IncompatibleError
from search.schema import failure_schema, segment_schema


def needs_migration(path: Path) -> bool:
    """Whether a collection has an older format, or a migration did not finish. Raises NoCollectionError, IncompatibleError."""
    raw = read_raw_identity(path)
    return raw["format_version"] < FORMAT_VERSION or raw.get("migrating_from") is not None


def migrate(path: Path) -> None:
    """Bring a collection to the current format. Only the holder of the writer's lock may call this.

    Raises:
        NoCollectionError: there is none. IncompatibleError: a newer or unknown format, or missing tables.
    """
    while needs_migration(path):
        raw = read_raw_identity(path)
        old = raw.get("migrating_from") or raw["format_version"]
        if old not in _STEPS:
            raise IncompatibleError(f"{path}: format {old} is unknown. Index into a new --collection directory.")
        _STEPS[old](path, raw)


def _from_1_to_2(path: Path, raw: dict[str, Any]) -> None:
    """Adds roots, a collection id, and the file's version in names of thumbnails. Snapshots replace `faiss/`."""
    segments, failures = LanceTable(path, SEGMENTS), LanceTable(path, FAILURES)
    if raw["format_version"] == 1:
        try:
            known = {name: raw[name] for name in ("model", "model_id", "preprocessing_id", "embedding_width")}
        except KeyError as error:
            raise IncompatibleError(f"{path / 'collection.json'}: lacks {error}. Restore it from a backup.") from error
        uris = [*_uris(segments), *_uris(failures)]
        roots = {f"{number:08x}": root for number, root in enumerate(common_roots(uris), start=1)}
        write_identity(path, Identity(new_collection_id(), **known, roots=roots, migrating_from=1))
    identity = read_identity(path)
    _split_uris(segments, segment_schema(identity.embedding_width), identity)
    _split_uris(failures, failure_schema(), identity)
    _rename_thumbnails(path, segments)
    publish(path, identity, segments, failures.count())
    shutil.rmtree(path / "faiss", ignore_errors=True)
    write_identity(path, replace(identity, migrating_from=None))


_STEPS: dict[int, Callable[[Path, dict[str, Any]], None]] = {1: _from_1_to_2}


def common_roots(uris: list[str]) -> list[str]:
    """The deepest folder that contains all files. If that is the root of the file system, one such folder for each folder in it."""
    if not uris:
        return []
    folders = sorted({Path(uri).parent for uri in uris})
    common = os.path.commonpath(folders)
    if common != folders[0].anchor:
        return [common]
    by_first: dict[tuple[str, ...], list[Path]] = {}
    for folder in folders:
        by_first.setdefault(folder.parts[:2], []).append(folder)
    return sorted(os.path.commonpath(group) for group in by_first.values())


def _uris(table: LanceTable) -> list[str]:
    return table.read(["uri"])["uri"].unique().to_pylist()


def _split_uris(table: LanceTable, schema: pa.Schema, identity: Identity) -> None:
    """Rewrite a table with `root_id` and `path` in place of `uri`, in one commit."""
    if "uri" not in table.schema.names:
        return
    names = [name for name in schema.names if name in table.schema.names]
    table.rewrite(_with_paths(table.batches([*names, "uri"]), schema, identity), schema)


def _with_paths(batches: Iterator[pa.RecordBatch], schema: pa.Schema, identity: Identity) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        located = [identity.locate(uri) for uri in batch.column("uri").to_pylist()]
        columns: dict[str, pa.Array] = {
            "root_id": pa.array([root_id for root_id, _ in located], pa.string()),
            "path": pa.array([path for _, path in located], pa.string()),
        }
        for name in schema.names:
            if name in batch.schema.names:
                columns[name] = batch.column(name).cast(schema.field(name).type)
        lacking = {name: pa.nulls(batch.num_rows, schema.field(name).type) for name in schema.names if name not in columns}
        yield pa.record_batch([(columns | lacking)[name] for name in schema.names], schema=schema)


def _rename_thumbnails(path: Path, segments: LanceTable) -> None:
    """Format 1 named a thumbnail by media id and time only. Removes those that no row refers to."""
    for row in segments.read(["media_id", "sha256", "frame_seconds"]).to_pylist():
        moment = "" if row["frame_seconds"] is None else f"-{round(row['frame_seconds'] * 1000)}"
        before = path / "thumbnails" / f"{row['media_id'] % 1000:03d}" / f"{row['media_id']}{moment}.webp"
        if before.exists():
            before.rename(thumbnail_of(path, row))
    for old in (path / "thumbnails").glob("*/*.webp"):
        if old.stem.count("-") == 0 or len(old.stem.split("-")[1]) != 12:
            old.unlink(missing_ok=True)


def migrate_for_reading(path: Path) -> None:
    """Migrate when a collection is opened for reading; if another process migrates it now, wait. Raises as `migrate`."""
    if not needs_migration(path):
        return
    try:
        with FileLock(path / WRITER_LOCK):
            migrate(path)
    except OSError as error:
        raise IncompatibleError(
            f"{path}: cannot be migrated from an older format ({error.strerror or error}). "
            "Make sure that you may write there and that the disk is not full."
        ) from error
