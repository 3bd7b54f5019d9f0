"""Compares a scan with a collection: which files are new, changed, moved, touched, gone or unchanged."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from indexer.scan import Scan
from media.sources.choose import source_of
from media.sources.source import SourceFile
from search.collection import Failure, Identity, KnownFile
from search.collection.identity import is_below
from search.schema import new_media_id


@dataclass(frozen=True)
class Task:
    """One file to process, with the media id, root and path for its rows."""

    media_id: int
    root_id: str
    path: str
    file: SourceFile

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
class Plan:
    """What a run has to do.

    Attributes:
        tasks: new and changed files, in the order of the scan.
        relocate: indexed files that have a new name or time, with the same bytes.
        gone: indexed files that no longer exist.
        settled_failures: failures to delete, because the file is gone, or is again as it was indexed.
        new_failures: files that cannot be indexed under their name.
    """

    tasks: tuple[Task, ...] = ()
    num_new: int = 0
    num_changed: int = 0
    num_moved: int = 0
    num_unchanged: int = 0
    num_failed_before: int = 0
    relocate: tuple[KnownFile, ...] = ()
    gone: tuple[KnownFile, ...] = ()
    settled_failures: tuple[Failure, ...] = ()
    new_failures: tuple[Failure, ...] = ()


def make_plan(
    scan: Scan, known: Mapping[str, KnownFile], failed: Mapping[str, Failure], identity: Identity, *, retry_failed: bool = False
) -> Plan:
    """Compare by size and time. Reads a file only if its bytes may already be indexed under another name or time."""
    lost = {uri for uri in (*known, *failed) if uri not in scan.files and _covers(scan, uri)}
    gone = {uri: file for uri, file in known.items() if uri in lost}
    unnamed = [Task(0, *identity.locate(problem.file.uri), problem.file).failure("scan", problem.reason) for problem in scan.problems]
    lost_by_size: dict[int, list[KnownFile]] = defaultdict(list)
    for file in gone.values():
        lost_by_size[file.size_bytes].append(file)
    used_ids = {file.media_id for file in known.values()}
    tasks: list[Task] = []
    relocate: list[KnownFile] = []
    unchanged: set[str] = set()
    count = dict.fromkeys(("new", "changed", "moved", "unchanged", "failed_before"), 0)
    for uri, found in scan.files.items():
        before = known.get(uri)
        if before is not None and _is_same_version(before, found):
            unchanged.add(uri)
            count["unchanged"] += 1
        elif not retry_failed and _failed_unchanged(failed.get(uri), found):
            count["failed_before"] += 1
        elif before is not None and before.size_bytes == found.size_bytes and _sha256(found) == before.sha256:
            relocate.append(replace(before, mtime=found.mtime, revision=found.revision or None))
            count["unchanged"] += 1
        elif before is not None:
            tasks.append(Task(before.media_id, before.root_id, before.path, found))
            count["changed"] += 1
        else:
            root_id, path = identity.locate(uri)
            if moved := _take_same_bytes(found, lost_by_size[found.size_bytes]):
                relocate.append(replace(moved, uri=uri, root_id=root_id, path=path, mtime=found.mtime, revision=found.revision or None))
                del gone[moved.uri]
                count["moved"] += 1
            else:
                tasks.append(Task(new_media_id(uri, used_ids), root_id, path, found))
                used_ids.add(tasks[-1].media_id)
                count["new"] += 1
    return Plan(
        tuple(tasks),
        relocate=tuple(relocate),
        gone=tuple(gone.values()),
        settled_failures=tuple(failure for uri, failure in failed.items() if uri in unchanged or uri in lost),
        new_failures=tuple(failure for failure in unnamed if failure.uri not in failed),
        **{f"num_{name}": value for name, value in count.items()},
    )


def _covers(scan: Scan, uri: str) -> bool:
    """Whether the scan would have found a file: it is below a scanned path, and not below an unreadable folder."""
    return any(is_below(uri, path) for path in scan.paths) and not any(is_below(uri, folder) for folder in scan.unreadable)


def _is_same_version(before: KnownFile | Failure, found: SourceFile) -> bool:
    """By size, time and revision. An older version of this program did not store the revision."""
    same_revision = not before.revision or not found.revision or before.revision == found.revision
    return same_revision and (before.size_bytes, before.mtime) == (found.size_bytes, found.mtime)


def _failed_unchanged(failure: Failure | None, found: SourceFile) -> bool:
    """Whether the same bytes failed before. Bytes that could not be read are always tried again: a network or a permission may be back."""
    return failure is not None and failure.stage != "read" and _is_same_version(failure, found)


def _take_same_bytes(found: SourceFile, lost: list[KnownFile]) -> KnownFile | None:
    if not lost:
        return None
    sha256 = _sha256(found)
    for index, file in enumerate(lost):
        if file.sha256 == sha256:
            return lost.pop(index)
    return None


def _sha256(file: SourceFile) -> str | None:
    source = source_of(file.uri)
    try:
        with source.open(file.uri) as opened:
            return source.sha256(file.uri, opened)
    except OSError:
        return None  # it will fail again in `process`, which records it
