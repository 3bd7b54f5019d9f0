"""What is to be done: the scan against what the collection knows. New, changed, moved, touched, gone, unchanged."""

from collections import defaultdict
from dataclasses import dataclass, replace

from indexer.scan import FoundFile, Scan
from media.hashing import sha256_of_file
from search.schema import media_id_of
from search.writer import Failure, KnownFile


@dataclass(frozen=True)
class Task:
    """One file to read, decode, embed and write under `media_id`."""

    media_id: int
    file: FoundFile


@dataclass(frozen=True)
class Plan:
    """`tasks` are new and changed files in the order of the scan; `relocate` are known bytes under a new name or time.

    `settled_failures` are failures to forget: the file is gone, or is again what was indexed.
    """

    tasks: tuple[Task, ...] = ()
    num_new: int = 0
    num_changed: int = 0
    num_moved: int = 0
    num_unchanged: int = 0
    num_failed_before: int = 0
    relocate: tuple[KnownFile, ...] = ()
    gone: tuple[KnownFile, ...] = ()
    settled_failures: tuple[str, ...] = ()


def make_plan(scan: Scan, known: dict[str, KnownFile], failed: dict[str, Failure], *, retry_failed: bool = False) -> Plan:
    """Compare by size and time; a file is read here only where its bytes may be known under another name or time."""
    gone = {uri: file for uri, file in known.items() if uri not in scan.files and scan.covers(uri)}
    lost_by_size: dict[int, list[KnownFile]] = defaultdict(list)
    for file in gone.values():
        lost_by_size[file.size_bytes].append(file)
    used_ids = {file.media_id for file in known.values()}
    tasks: list[Task] = []
    relocate: list[KnownFile] = []
    unchanged: set[str] = set()
    count = dict.fromkeys(("new", "changed", "moved", "unchanged", "failed_before"), 0)
    for found in scan.files.values():
        before = known.get(found.uri)
        if before is not None and (before.size_bytes, before.mtime) == (found.size_bytes, found.mtime):
            unchanged.add(found.uri)
            count["unchanged"] += 1
        elif not retry_failed and _failed_just_so(failed.get(found.uri), found):
            count["failed_before"] += 1
        elif before is not None and before.size_bytes == found.size_bytes and _sha256(found.uri) == before.sha256:
            relocate.append(replace(before, mtime=found.mtime))
            count["unchanged"] += 1
        elif before is not None:
            tasks.append(Task(before.media_id, found))
            count["changed"] += 1
        elif moved := _take_same_bytes(found, lost_by_size[found.size_bytes]):
            relocate.append(replace(moved, uri=found.uri, mtime=found.mtime))
            del gone[moved.uri]
            count["moved"] += 1
        else:
            tasks.append(Task(_free_id(found.uri, used_ids), found))
            count["new"] += 1
    settled = {uri for uri in failed if uri not in scan.files and scan.covers(uri)} | (failed.keys() & unchanged)
    counts = {f"num_{name}": value for name, value in count.items()}
    return Plan(tuple(tasks), relocate=tuple(relocate), gone=tuple(gone.values()), settled_failures=tuple(settled), **counts)


def _failed_just_so(failure: Failure | None, found: FoundFile) -> bool:
    return failure is not None and (failure.size_bytes, failure.mtime) == (found.size_bytes, found.mtime)


def _take_same_bytes(found: FoundFile, lost: list[KnownFile]) -> KnownFile | None:
    if not lost:
        return None
    sha256 = _sha256(found.uri)
    for place, file in enumerate(lost):
        if file.sha256 == sha256:
            return lost.pop(place)
    return None


def _free_id(uri: str, used: set[int]) -> int:
    salt = 0
    while (media_id := media_id_of(uri, salt)) in used:
        salt += 1
    used.add(media_id)
    return media_id


def _sha256(path: str) -> str | None:
    try:
        return sha256_of_file(path)
    except OSError:
        return None  # it will fail again where it is read, and be recorded there
