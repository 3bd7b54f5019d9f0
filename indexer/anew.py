"""Makes a collection anew with another model: its files are embedded again, as a new generation beside the old one.

The files are those of the collection, not all in its folders: a pattern or a list may have chosen them. They keep their media ids and
roots. Only manifest columns are copied from the old rows. So the new generation is what an ordinary run would make. It is an ordinary
collection from the start, so a run that was stopped or killed goes on where it was.

It replaces the old one only if no file is lost by that, see `indexer.verdict`. Folders that are absent, and files that are still being
written, hold it up.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.forecast import check_room
from indexer.old_generation import OldGeneration, read_old_generation
from indexer.plan import Task
from indexer.report import Report
from indexer.survey import paused_garbage_collection
from indexer.verdict import Anew, judge
from media.sources.addresses import is_address
from search.collection import CollectionWriter, KnownFile, read_identity
from search.collection.bucket.place import shown
from search.collection.generations.folders import next_generation, remove, remove_older, switch_to
from search.collection.lance_tables import SEGMENTS, LanceTable
from search.collection.rows import from_manifest
from search.collection.storage import storage_errors
from search.collection.writer_lock import WriterLock
from search.errors import CollectionError, NoCollectionError, OtherModelError

if TYPE_CHECKING:
    from coca_model import Encoder

Process = Callable[[Sequence[Task], CollectionWriter, Mapping[str, Mapping[str, Any]]], None]  # with the columns of manifests by uri


def nothing_to_do(folder: Path) -> Report:
    """The report of a run that was to make a collection anew that has the wanted model."""
    return Report(folder, 0, 0, 0, 0, 0, 0, notes=("The collection is of this model already. Nothing was changed.",))


def make_anew(folder: Path, encoder: "Encoder", *, model: str, forget: Collection[str], process: Process) -> Anew:
    """Build the new generation, or go on with it. If it is complete, it replaces the old one.

    Args:
        folder: the old generation.
        encoder: the other model.
        model: what `coca_model.load` takes.
        forget: what to leave out: ids of roots, and files and folders below a root.
        process: embeds the files of some tasks, and gives their rows to the writer.

    Raises:
        CollectionError: the collection is in a bucket, or an unfinished generation cannot be opened. LockedError: another process is
            writing to it.
        StorageError: the disk has no room for both, is full, or may not be written.
    """
    if is_address(shown(folder)):
        advice = "Index into a new --collection address. Delete the old one when that is done."
        raise CollectionError(f"{shown(folder)}: a collection in a bucket cannot be made anew in its place. {advice}")
    target = next_generation(folder)
    with ExitStack() as held:
        with storage_errors(folder):
            held.enter_context(WriterLock(folder))
        with paused_garbage_collection():
            old = read_old_generation(folder, forget)
        _discard_another(target, encoder)
        check_room(folder, encoder)
        with CollectionWriter(target, encoder, model=model) as writer:
            _prepare(writer, old)
            todo = old.todo(writer)
            manifest_columns = from_manifest(LanceTable(folder, SEGMENTS))
            if todo:
                kept = {task.file.uri: manifest_columns[task.media_id] for task in todo if task.media_id in manifest_columns}
                process(todo, writer, kept)
            writer.commit()
            done = judge(old, writer)
            writer.add_failures((*done.failures, *done.untried))
            writer.forget_failures([failure for failures in done.undecodable.values() for failure in failures])
            writer.finish()
            if done.is_complete:
                with storage_errors(folder):
                    switch_to(target)
                    remove_older(target)
    return replace(done, model_id=encoder.model_id, num_rows=writer.num_rows)


def _prepare(writer: CollectionWriter, old: OldGeneration) -> None:
    """Give the new generation the roots and settings of the old one. Remove files that the old generation no longer has."""
    settings = {name: getattr(old.identity, name) for name in ("roots", "root_inodes", "leave_out", "index")}
    writer.update_identity(replace(writer.identity, **settings))
    writer.remove(file.media_id for uri, file in writer.known_files().items() if not _is_current(file, old))
    writer.forget_failures([failure for uri, failure in writer.known_failures().items() if uri not in old.tasks])


def _is_current(file: KnownFile, old: OldGeneration) -> bool:
    """Whether the new generation has a file as it is now. Since the last run, it may have changed or taken the name of another."""
    task = old.tasks.get(file.uri)
    if task is None or task.media_id != file.media_id:
        return False
    is_seen = file.uri not in old.missing and file.uri not in old.unreadable
    return not is_seen or (task.file.size_bytes, task.file.mtime) == (file.size_bytes, file.mtime)


def _discard_another(target: Path, encoder: "Encoder") -> None:
    """Remove an unfinished generation of yet another model. One that cannot be opened may hold hours of work, and stays."""
    try:
        read_identity(target).check(encoder, target)
    except (OtherModelError, NoCollectionError):
        remove(target)
    except CollectionError as error:
        raise CollectionError(f"{target}: an unfinished generation cannot be opened ({error}) Remove this folder to begin anew.") from error
