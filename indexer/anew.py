"""Makes a collection anew with another model: its files are embedded again, as a new generation beside the old one.

The files are those of the collection, not all in its folders: a pattern or a list may have chosen them. They keep their media ids and
roots. Nothing else of the old rows is used but what manifests said, so the new generation is what an ordinary run would make. It is an
ordinary collection from the start, so a run that was stopped or killed goes on where it was.

It replaces the old one only if no file is lost by that. Folders that are absent, and files that are still being written, hold it up.
"""

import os
import shlex
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.files.find_files import Finder, is_gone
from indexer.files.leave_out import LeaveOut
from indexer.plan import Task
from indexer.report import Report
from indexer.survey import paused_garbage_collection
from media.sources.addresses import is_address
from media.sources.source import SourceFile
from search.collection import CollectionWriter, Failure, Identity, read_identity
from search.collection.bucket.place import shown
from search.collection.generations.folders import next_generation, remove, remove_older, size_of, switch_to
from search.collection.lance_tables import FAILURES, SEGMENTS, LanceTable
from search.collection.publish import open_snapshot
from search.collection.roots import list_roots
from search.collection.rows import from_manifest, known_failures, known_files
from search.collection.storage import storage_errors
from search.collection.writer_lock import WriterLock
from search.errors import CollectionError, StorageError
from search.schema import new_media_id

if TYPE_CHECKING:
    from coca_model import Encoder

Process = Callable[[Sequence[Task], CollectionWriter, Mapping[str, Mapping[str, Any]]], None]  # with the columns of manifests by uri
_SPARE = 1.1  # of the size of the old generation
_MOST_UNREAD, _MOST_UNREAD_SHARE = 10, 0.01  # files of a root that may be unreadable; more, and the root itself is in trouble


@dataclass(frozen=True)
class Anew:
    """What became of a new generation.

    Attributes:
        folder: where it lies.
        num_files: files that the old one has.
        num_made: those of them that the new one has, with those that can no longer be decoded.
        num_rows: rows that this run wrote.
        model_id: that of its model.
        gone: files that no longer exist.
        absent: folders that are probably not mounted, with the number of their files that the new one lacks.
        troubled: folders of which many files cannot be read, with their number.
        unreadable: files that could not be looked at, with the reason, if it is not complete.
        failures: those files, if it is complete.
        forgotten: folders that were left out at the user's wish, with the number of their files.
        is_complete: whether it has replaced the old one.
    """

    folder: Path
    num_files: int
    num_made: int
    num_rows: int = 0
    model_id: str = ""
    gone: tuple[str, ...] = ()
    absent: Mapping[str, int] = field(default_factory=dict)
    troubled: Mapping[str, int] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    forgotten: Mapping[str, int] = field(default_factory=dict)
    is_complete: bool = False

    def add_to(self, report: Report) -> Report:
        """The report of a run that also did this."""
        return replace(
            report,
            num_gone=report.num_gone + len(self.gone),
            files={**report.files, "gone": (*self.gone, *report.files.get("gone", ()))},
            absent={**self.absent, **report.absent},
            unreadable={**self.unreadable, **report.unreadable},
            failures=(*self.failures, *report.failures),
            notes=(*self._remarks(), *report.notes),
        )

    def _remarks(self) -> Iterator[str]:
        for root, count in self.forgotten.items():
            yield f"{root}: forgotten, with {count} files."
        for root, count in self.troubled.items():
            yield f"{root}: {count} files cannot be read. If they are gone for good, go on without them: --forget {shlex.quote(root)}"
        if self.is_complete:
            yield f"The collection was made anew with {self.model_id}: {self.num_made} files. The old vectors were removed."
        else:
            yield (
                f"The new collection with {self.model_id} is not complete ({self.num_made} of {self.num_files} files). "
                "Until then, the old one stays. Run the same command again to go on."
            )


def nothing_to_do(folder: Path) -> Report:
    """The report of a run that was to make a collection anew that has the wanted model."""
    return Report(folder, 0, 0, 0, 0, 0, 0, notes=("The collection is of this model already. Nothing was changed.",))


@dataclass(frozen=True)
class _Old:
    """The old generation, without the roots to forget.

    Attributes:
        tasks: its files by uri, and what failed, for which `was_indexed` is false.
        unreadable: those that could not be looked at, with the reason.
        missing: those that no longer exist, because they or their folder are gone.
        forgotten: the folders of the roots to forget, with the number of their files.
    """

    folder: Path
    identity: Identity
    tasks: Mapping[str, Task]
    unreadable: Mapping[str, str]
    missing: Collection[str]
    forgotten: Mapping[str, int]

    def absent(self) -> set[str]:
        """The ids of the roots that are absent now."""
        snapshot = open_snapshot(self.folder, read_identity(self.folder), may_write=False)
        return {root.root_id for root in list_roots(snapshot) if root.is_absent}

    def todo(self, writer: CollectionWriter) -> list[Task]:
        """The files that the new generation lacks. A file that could not be read is tried again."""
        done = {*writer.known_files(), *(uri for uri, failure in writer.known_failures().items() if failure.stage != "read")}
        return [task for uri, task in self.tasks.items() if uri not in done and uri not in self.missing and uri not in self.unreadable]


def make_anew(folder: Path, encoder: "Encoder", *, model: str, forget: Collection[str], process: Process) -> Anew:
    """Build the new generation, or go on with it. If it is complete, it replaces the old one.

    Args:
        folder: the old generation.
        encoder: the other model.
        model: what `coca_model.load` takes.
        forget: ids of roots to leave out.
        process: embeds the files of some tasks, and gives their rows to the writer.

    Raises:
        CollectionError: the collection is in a bucket. LockedError: another process is writing to it.
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
            old = _read_old(folder, forget)
        _discard_another(target, encoder)
        _check_space(folder, target, encoder)
        with CollectionWriter(target, encoder, model=model) as writer:
            _prepare(writer, old)
            absent, todo = old.absent(), old.todo(writer)
            said = from_manifest(LanceTable(folder, SEGMENTS))
            if todo:
                process(todo, writer, {task.file.uri: said[task.media_id] for task in todo if task.media_id in said})
            writer.commit()
            done = _judge(old, writer, absent | old.absent())
            if done.is_complete:
                writer.add_failures(done.failures)
            writer.finish()
            if done.is_complete:
                with storage_errors(folder):
                    switch_to(target)
                    remove_older(target)
    return replace(done, model_id=encoder.model_id, num_rows=writer.num_rows)


def _read_old(folder: Path, forget: Collection[str]) -> _Old:
    identity = read_identity(folder)
    known = known_files(LanceTable(folder, SEGMENTS), identity)
    failed = known_failures(LanceTable(folder, FAILURES), identity)
    forgotten = Counter(identity.roots[file.root_id] for file in known.values() if file.root_id in forget)
    tasks = {
        file.uri: Task(file.media_id, file.root_id, file.path, SourceFile(file.uri, file.size_bytes, file.mtime), was_indexed=True)
        for file in known.values()
        if file.root_id not in forget
    }
    used = {file.media_id for file in known.values()}
    for uri, failure in failed.items():
        if uri not in known and failure.root_id not in forget:
            used.add(media_id := new_media_id(uri, used))
            tasks[uri] = Task(media_id, failure.root_id, failure.path, SourceFile(uri, failure.size_bytes, failure.mtime))
    finder = Finder(LeaveOut(), ())
    finder.add(tasks)
    tasks = {uri: replace(task, file=finder.files.get(uri, task.file)) for uri, task in tasks.items()}
    missing = {uri for uri in finder.unreadable if is_gone(uri) and not os.path.lexists(uri)}  # a link to nothing is no missing file
    unreadable = {uri: reason for uri, reason in finder.unreadable.items() if uri not in missing}
    kept = {root_id: root for root_id, root in identity.roots.items() if root_id not in forget}
    return _Old(folder, replace(identity, roots=kept), tasks, unreadable, missing, forgotten)


def _prepare(writer: CollectionWriter, old: _Old) -> None:
    """Give the new generation the roots and settings of the old one, and remove what that no longer has."""
    settings = {name: getattr(old.identity, name) for name in ("roots", "root_inodes", "leave_out", "index")}
    writer.update_identity(replace(writer.identity, **settings))
    writer.remove(file.media_id for uri, file in writer.known_files().items() if uri not in old.tasks)
    writer.forget_failures([failure for uri, failure in writer.known_failures().items() if uri not in old.tasks])


def _judge(old: _Old, writer: CollectionWriter, absent: Collection[str]) -> Anew:
    """Whether the new generation may replace the old one, and what it lacks."""
    made, failed = writer.known_files(), writer.known_failures()
    indexed = [task for task in old.tasks.values() if task.was_indexed]
    lacking = [task for task in indexed if (uri := task.file.uri) not in made and not (uri in failed and failed[uri].stage != "read")]
    roots, sizes = old.identity.roots, Counter(task.root_id for task in indexed)
    away, unread, gone, num_waiting = Counter[str](), Counter[str](), [], 0
    for task in lacking:
        uri = task.file.uri
        if task.root_id in absent:
            away[roots[task.root_id]] += 1
        elif uri in old.missing:
            gone.append(uri)
        elif uri in old.unreadable or uri in failed:
            unread[task.root_id] += 1
        else:
            num_waiting += 1
    troubled = {roots.get(each, "/"): count for each, count in unread.items() if count > _most_unread(sizes[each])}
    is_complete = not (away or troubled or num_waiting)
    failures = tuple(old.tasks[uri].failure("read", reason) for uri, reason in old.unreadable.items() if uri not in made)
    return Anew(
        writer.path,
        num_files=len(indexed),
        num_made=len(indexed) - len(lacking),
        gone=tuple(gone),
        absent=away,
        troubled=troubled,
        unreadable={} if is_complete else old.unreadable,
        failures=failures if is_complete else (),
        forgotten=old.forgotten,
        is_complete=is_complete,
    )


def _most_unread(num_files: int) -> float:
    return min(num_files - 1, max(_MOST_UNREAD, _MOST_UNREAD_SHARE * num_files))


def _discard_another(target: Path, encoder: "Encoder") -> None:
    """Remove an unfinished generation of yet another model, or one that cannot be read."""
    try:
        read_identity(target).check(encoder, target)
    except CollectionError:
        remove(target)


def _check_space(folder: Path, target: Path, encoder: "Encoder") -> None:
    """Raises StorageError if the disk has no room for a second generation."""
    wider = max(1.0, encoder.config.embedding_width / read_identity(folder).embedding_width)
    needed = _SPARE * wider * size_of(folder) - (size_of(target) if target.exists() else 0)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StorageError(
            f"{shown(folder)}: too little room on the disk. To make the collection anew takes {in_words(needed)} beside the old one, and "
            f"{in_words(free)} are free. Make room, or index into a new --collection directory on another disk."
        )


def in_words(size_bytes: float) -> str:
    """A size such as 3.2 GB or 45 MB."""
    return f"{size_bytes / 1e9:,.1f} GB" if size_bytes >= 1e9 else f"{max(1.0, size_bytes / 1e6):.0f} MB"
