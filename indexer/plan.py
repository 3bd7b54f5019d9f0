"""Compares a scan with a collection: which files are new, changed, moved, touched, gone or unchanged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from indexer.changes.absent import Absent
from indexer.changes.compare import compare, count_by_root, new_revision, unchanged_among
from indexer.changes.hashes import OnCheck
from indexer.changes.moved_files import find_moved, is_only_renamed
from indexer.files.leave_out import LeaveOut
from indexer.scan import Scan
from media.sources.folders import Folders
from media.sources.source import SourceFile
from search.collection import Failure, Identity, KnownFile
from search.schema import new_media_id


@dataclass(frozen=True)
class Task:
    """One file to process, with the media id, root and path for its rows. `was_indexed` says that it has older rows."""

    media_id: int
    root_id: str
    path: str
    file: SourceFile
    was_indexed: bool = False

    def failure(self, stage: str, reason: str) -> Failure:
        """The failure to store if the file cannot be indexed."""
        file = self.file
        return Failure(
            uri=file.uri,
            root_id=self.root_id,
            path=self.path,
            size_bytes=file.size_bytes,
            mtime=file.mtime,
            revision=file.revision or None,
            stage=stage,
            reason=reason,
        )


@dataclass(frozen=True)
class PlanOptions:
    """How files are compared.

    Attributes:
        retry_failed: also try files that failed before and have not changed.
        check_content: hash every file.
        rules: what is left out.
        moved_roots: the ids of roots that were found at another place. Their files count as moved.
        on_check: called with two counts while files are hashed: files read, files to read.
    """

    retry_failed: bool = False
    check_content: bool = False
    rules: LeaveOut = field(default_factory=LeaveOut)
    moved_roots: frozenset[str] = frozenset()
    on_check: OnCheck | None = None


@dataclass(frozen=True)
class Plan:
    """What a run has to do.

    Attributes:
        tasks: new and changed files, in the order of the scan.
        moved: for files that were indexed under another name: the new name and the old one.
        relocate: indexed files that have a new name, time or revision, with the same bytes.
        gone: indexed files that no longer exist.
        absent: folders that are probably not mounted, with the number of their files. Those stay in the collection.
        settled_failures: failures to delete, because the file is gone, or is again as it was indexed.
    """

    tasks: tuple[Task, ...] = ()
    num_new: int = 0
    num_changed: int = 0
    num_moved: int = 0
    num_unchanged: int = 0
    num_failed_before: int = 0
    moved: Mapping[str, str] = field(default_factory=dict)
    relocate: tuple[KnownFile, ...] = ()
    gone: tuple[KnownFile, ...] = ()
    absent: Mapping[str, int] = field(default_factory=dict)
    settled_failures: tuple[Failure, ...] = ()


@dataclass
class _Compared:
    """The files of a scan, by what size, time and revision say. `pending` are new, changed or moved."""

    unchanged: list[tuple[KnownFile, SourceFile]] = field(default_factory=list)
    doubtful: list[tuple[KnownFile, SourceFile]] = field(default_factory=list)
    pending: list[SourceFile] = field(default_factory=list)
    num_failed_before: int = 0


def make_plan(
    scan: Scan, known: Mapping[str, KnownFile], failed: Mapping[str, Failure], identity: Identity, options: PlanOptions | None = None
) -> Plan:
    """Compare by size, time and revision. Reads a file only if its bytes may be indexed under another name, time or revision."""
    options = options or PlanOptions()
    absent = Absent(scan, known.keys() | failed.keys(), identity, options.rules)
    lost = {uri for uri in (*known, *failed) if uri not in scan.files and scan.covers(uri) and not absent.keeps(uri)}
    compared = _compare(scan, known, failed, options)
    if compared.doubtful:
        _resolve_doubts(compared, count_by_root(scan.files, known), options)
    new = [file for file in compared.pending if file.uri not in known]
    elsewhere = [uri for uri in known if uri not in scan.files and uri not in lost] if new else []
    found = find_moved(new, known, lost, elsewhere, options.on_check)
    moved = {uri: old for uri, old in found.items() if is_only_renamed(known[old], scan.files[uri])}
    renamed = {uri: known[old] for uri, old in found.items() if uri not in moved}  # and described anew
    tasks = _tasks([file for file in compared.pending if file.uri not in moved], {**known, **renamed}, identity)
    was_moved = [before.root_id in options.moved_roots for before, _ in compared.unchanged]
    num_changed = sum(task.was_indexed for task in tasks)
    indexed, left = {found.uri for _, found in compared.unchanged}, set(found.values())
    return Plan(
        tasks,
        num_new=len(tasks) - num_changed,
        num_changed=num_changed,
        num_moved=len(moved) + sum(was_moved),
        num_unchanged=len(was_moved) - sum(was_moved),
        num_failed_before=compared.num_failed_before,
        moved=moved,
        relocate=_relocations(compared, moved, known, identity, scan),
        gone=tuple(file for uri, file in known.items() if uri in lost and uri not in left),
        absent=absent.counts_without(found.values()),
        settled_failures=tuple(failure for uri, failure in failed.items() if uri in indexed or uri in lost),
    )


def _compare(scan: Scan, known: Mapping[str, KnownFile], failed: Mapping[str, Failure], options: PlanOptions) -> _Compared:
    compared = _Compared()
    for uri, found in scan.files.items():
        before = known.get(uri)
        verdict = compare(before, found) if before else "changed"
        if before and verdict == "same" and not options.check_content:
            compared.unchanged.append((before, found))
        elif not options.retry_failed and uri in failed and _failed_unchanged(failed[uri], found):
            compared.num_failed_before += 1
        elif before and verdict != "changed":
            compared.doubtful.append((before, found))
        else:
            compared.pending.append(found)
    return compared


def _resolve_doubts(compared: _Compared, num_files: Mapping[str, int], options: PlanOptions) -> None:
    """Hash the doubtful files, and add them to the unchanged or the pending ones."""
    doubtful = compared.doubtful
    same = unchanged_among(doubtful, num_files, check_all=options.check_content, on_check=options.on_check)
    compared.unchanged += [pair for pair in doubtful if pair[1].uri in same]
    compared.pending += [found for _, found in doubtful if found.uri not in same]


def _tasks(files: Sequence[SourceFile], known: Mapping[str, KnownFile], identity: Identity) -> tuple[Task, ...]:
    used_ids = {file.media_id for file in known.values()} if files else set()
    tasks = []
    for file in sorted(files, key=lambda file: file.uri):
        before = known.get(file.uri)
        if before is None:
            media_id = new_media_id(file.uri, used_ids)
            used_ids.add(media_id)
            tasks.append(Task(media_id, *identity.locate(file.uri), file))
        else:
            place = (before.root_id, before.path) if before.uri == file.uri else identity.locate(file.uri)
            tasks.append(Task(before.media_id, *place, file, was_indexed=True))
    return tuple(tasks)


def _relocations(
    compared: _Compared, moved: Mapping[str, str], known: Mapping[str, KnownFile], identity: Identity, scan: Scan
) -> tuple[KnownFile, ...]:
    """Indexed files as they are now, if their name, time, revision or root differs."""
    outer = Folders(scan.mounts)  # a folder on another drive is a root now
    relocate = []
    for before, found in compared.unchanged:
        revision = new_revision(before, found)
        if (revision, found.mtime) != (before.revision, before.mtime) or (scan.mounts and found.uri in outer):
            root_id, path = identity.locate(found.uri) if scan.mounts else (before.root_id, before.path)
            relocate.append(before._replace(root_id=root_id, path=path, mtime=found.mtime, revision=revision))
    for uri, old in moved.items():
        root_id, path = identity.locate(uri)
        file = scan.files[uri]
        now = known[old]._replace(uri=uri, root_id=root_id, path=path, mtime=file.mtime, revision=new_revision(known[old], file))
        relocate.append(now)
    return tuple(file for file in relocate if file != known.get(file.uri))


def _failed_unchanged(failure: Failure, found: SourceFile) -> bool:
    """Whether a failed file need not be tried again. One that could not be read is always tried: that costs little."""
    is_same = (failure.size_bytes, failure.mtime) == (found.size_bytes, found.mtime)
    return is_same and failure.stage != "read" and failure.revision in {None, found.revision}
