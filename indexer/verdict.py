"""Whether a new generation may replace the old one: only if no file is lost by that."""

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from indexer.old_generation import OldGeneration, is_missing
from indexer.report import Report
from search.collection import CollectionWriter, Failure
from search.collection.roots import is_missing_or_empty

_MOST_BAD, _MOST_BAD_SHARE = 10, 0.01  # bad files of a root; if there are more, something else is wrong, such as the disk or a codec
_NAMED = 3  # files in one line


@dataclass(frozen=True)
class Anew:
    """What became of a new generation.

    Attributes:
        folder: where it lies.
        num_files: files that the old one has.
        num_made: those of them that the new one has, with a few that can no longer be decoded.
        num_rows: rows that this run wrote.
        model_id: that of its model.
        gone: files that no longer exist.
        absent: folders that are probably not mounted, with the number of their files that the new one lacks.
        troubled: folders of which many files cannot be read, with their number.
        undecodable: folders of which many files can no longer be decoded, with these files.
        unreadable: files that could not be looked at, with the reason, if it is not complete.
        failures: those files, if it is complete.
        untried: files that failed before and that this run did not come to, if it is complete.
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
    undecodable: Mapping[str, tuple[Failure, ...]] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    untried: tuple[Failure, ...] = ()
    forgotten: Mapping[str, int] = field(default_factory=dict)
    is_complete: bool = False

    def add_to(self, report: Report) -> Report:
        """The report of a run that also did this."""
        return replace(
            report,
            num_gone=report.num_gone + len(self.gone),
            files={**report.files, "gone": (*self.gone, *report.files.get("gone", ()))},
            absent={**self.absent, **report.absent},
            roots=report.roots | self.absent.keys(),  # each can be forgotten
            unreadable={**self.unreadable, **report.unreadable},
            failures=(*self.failures, *report.failures),
            notes=(*self._remarks(), *report.notes),
        )

    def _remarks(self) -> Iterator[str]:
        for root, count in self.forgotten.items():
            yield f"{root}: forgotten, with {count} files."
        for root, count in self.troubled.items():
            yield f"{root}: {count} files cannot be read. If they are gone for good, go on without them: --forget {shlex.quote(root)}"
        for root, failures in self.undecodable.items():
            named = ", ".join(f"{failure.uri} ({failure.reason})" for failure in failures[:_NAMED])
            more = f" and {len(failures) - _NAMED} more" if len(failures) > _NAMED else ""
            yield (
                f"{root}: {len(failures)} files that were indexed before can no longer be decoded: {named}{more}. They are tried again by "
                f"the next run. To go on without them, forget them or a folder that holds them: --forget {shlex.quote(failures[0].uri)}"
            )
        if self.is_complete:
            yield f"The collection was made anew with {self.model_id}: {self.num_made} files. The old vectors were removed."
        else:
            yield (
                f"The new collection with {self.model_id} is not complete ({self.num_made} of {self.num_files} files). "
                "Until then, the old one stays. Run the same command again to go on."
            )


def judge(old: OldGeneration, writer: CollectionWriter) -> Anew:
    """Whether the new generation may replace the old one, and what it lacks."""
    made, failed = writer.known_files(), writer.known_failures()
    indexed = [task for task in old.tasks.values() if task.was_indexed]
    lacking = [task for task in indexed if task.file.uri not in made]
    roots, sizes = old.identity.roots, Counter(task.root_id for task in indexed)
    absent, is_away = old.absent(), cache(is_missing_or_empty)
    away, unread, gone, num_waiting = Counter[str](), Counter[str](), [], 0
    broken: dict[str, list[Failure]] = defaultdict(list)
    for task in lacking:
        uri = task.file.uri
        if uri in failed and failed[uri].stage != "read":
            broken[task.root_id].append(failed[uri])
        elif folder := roots[task.root_id] if task.root_id in absent else old.absent_folder(task, is_away):
            away[folder] += 1
        elif uri in old.missing and is_missing(uri):  # it may be back: they were looked at hours ago
            gone.append(uri)
        elif uri in old.unreadable or uri in failed:
            unread[task.root_id] += 1
        else:
            num_waiting += 1
    troubled = {roots.get(each, "/"): count for each, count in unread.items() if count > _most_bad(sizes[each])}
    undecodable = {roots.get(each, "/"): tuple(found) for each, found in broken.items() if len(found) > _most_bad(sizes[each])}
    num_broken = sum(map(len, broken.values())) - sum(map(len, undecodable.values()))
    done = Anew(
        writer.path,
        num_files=len(indexed),
        num_made=len(indexed) - len(lacking) + num_broken,
        gone=tuple(gone),
        absent=away,
        troubled=troubled,
        undecodable=undecodable,
        forgotten=old.forgotten,
    )
    if away or troubled or undecodable or num_waiting:
        return replace(done, unreadable=old.unreadable)
    failures = tuple(old.tasks[uri].failure("read", reason) for uri, reason in old.unreadable.items() if uri not in made)
    known = {*made, *failed, *old.missing, *old.unreadable}
    untried = tuple(failure for uri, failure in old.failed.items() if uri not in known)
    return replace(done, failures=failures, untried=untried, is_complete=True)


def _most_bad(num_files: int) -> float:
    return min(num_files - 1, max(_MOST_BAD, _MOST_BAD_SHARE * num_files))
