"""The files of a collection that is made anew: what there is of them now, and which folders are absent."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from indexer.files.find_files import Finder, is_gone
from indexer.files.leave_out import LeaveOut
from indexer.plan import Task
from media.sources.addresses import is_address
from media.sources.folders import Folders
from media.sources.source import SourceFile
from search.collection import CollectionWriter, Failure, Identity, read_identity
from search.collection.identity import is_below
from search.collection.lance_tables import FAILURES, SEGMENTS, LanceTable
from search.collection.roots import absent_roots
from search.collection.rows import known_failures, known_files
from search.schema import new_media_id


@dataclass(frozen=True)
class OldGeneration:
    """The old generation, without what is to be forgotten.

    Attributes:
        folder: where it lies.
        identity: without the roots to forget.
        tasks: its files by uri, and what failed, for which `was_indexed` is false.
        failed: what failed, by uri.
        unreadable: files that could not be looked at, with the reason.
        missing: files that did not exist, because they or their folder were gone.
        forgotten: the folders to forget, with the number of their files.
        were_absent: ids of the roots that were absent before the files were looked at.
    """

    folder: Path
    identity: Identity
    tasks: Mapping[str, Task]
    failed: Mapping[str, Failure]
    unreadable: Mapping[str, str]
    missing: Collection[str]
    forgotten: Mapping[str, int]
    were_absent: Collection[str]

    def absent(self) -> set[str]:
        """The ids of the roots that were absent before the files were looked at, or are absent now."""
        return {*self.were_absent, *_absent(self.identity, self.tasks)}

    def absent_folder(self, task: Task, is_away: Callable[[str], bool]) -> str | None:
        """The outermost absent folder between a root and a file. None if there is none, or the root was indexed as a folder.

        The root of a list of files is only the folder above them all. It may hold several drives.
        """
        uri = task.file.uri
        if is_address(uri) or task.root_id in self.identity.root_inodes:
            return None
        root = self.identity.roots.get(task.root_id, os.sep)
        between = [folder for folder in map(str, Path(uri).parents) if folder != root and is_below(folder, root)]
        return next(filter(is_away, reversed(between)), None)

    def todo(self, writer: CollectionWriter) -> list[Task]:
        """The files that the new generation lacks. A file that could not be read is tried again."""
        done = {*writer.known_files(), *(uri for uri, failure in writer.known_failures().items() if failure.stage != "read")}
        return [task for uri, task in self.tasks.items() if uri not in done and uri not in self.missing and uri not in self.unreadable]


def read_old_generation(folder: Path, forget: Collection[str]) -> OldGeneration:
    """Read the tables, and look at each file. `forget`: ids of roots, and files and folders below a root."""
    identity = read_identity(folder)
    known = known_files(LanceTable(folder, SEGMENTS), identity)
    failed = known_failures(LanceTable(folder, FAILURES), identity)
    apart = Folders(each for each in forget if each not in identity.roots)

    def forgets(uri: str, root_id: str) -> str | None:
        return identity.roots[root_id] if root_id in forget else apart.innermost(uri)

    forgotten = Counter(path for file in known.values() if (path := forgets(file.uri, file.root_id)))
    tasks = {
        file.uri: Task(file.media_id, file.root_id, file.path, SourceFile(file.uri, file.size_bytes, file.mtime), was_indexed=True)
        for file in known.values()
        if not forgets(file.uri, file.root_id)
    }
    failed = {uri: each for uri, each in failed.items() if uri not in known and not forgets(uri, each.root_id)}
    used = {file.media_id for file in known.values()}
    for uri, failure in failed.items():
        used.add(media_id := new_media_id(uri, used))
        tasks[uri] = Task(media_id, failure.root_id, failure.path, SourceFile(uri, failure.size_bytes, failure.mtime))
    identity = replace(identity, roots={root_id: root for root_id, root in identity.roots.items() if root_id not in forget})
    absent = _absent(identity, tasks)
    finder = Finder(LeaveOut(), ())
    finder.add(tasks)
    tasks = {uri: replace(task, file=finder.files.get(uri, task.file)) for uri, task in tasks.items()}
    missing = set(filter(is_missing, finder.unreadable))
    unreadable = {uri: reason for uri, reason in finder.unreadable.items() if uri not in missing}
    return OldGeneration(folder, identity, tasks, failed, unreadable, missing, forgotten, absent)


def is_missing(uri: str) -> bool:
    """Whether a file is not there. A link to nothing is no missing file."""
    return is_gone(uri) and not os.path.lexists(uri)


def _absent(identity: Identity, tasks: Mapping[str, Task]) -> set[str]:
    """The ids of roots that are absent. The rows tell which files they have: after a killed run, the snapshot may lack some."""
    files = defaultdict(set)
    for uri, task in tasks.items():
        if task.was_indexed:
            files[task.root_id].add(uri)
    return absent_roots(identity, files)
