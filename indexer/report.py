"""What a run of the indexer did, and how it is told."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from indexer.changes.moved_roots import Move
from indexer.files.find_files import Seen
from media.file_names import escape
from search.collection import Failure
from search.collection.bucket.place import shown

_SHOWN = 5  # names in one line


@dataclass(frozen=True)
class Report:
    """What a run of the indexer did.

    Attributes:
        collection: its folder.
        failures: the files that failed in this run.
        num_failed_before: files that failed in an earlier run, have not changed, and were not tried again.
        seconds: by stage, summed over threads.
        unfinished: files that were still being written, and are left for the next run.
        unreadable: folders and files that could not be looked at, with the reason. Their rows stay.
        absent: folders that are probably not mounted, with the number of their files. Their rows stay.
        roots: all folders that were indexed.
        missing: paths that were named, are not there, and were indexed before. Their rows stay.
        moved_roots: folders that were recognised at another place.
        seen: what else was met.
        notes: what a manifest says that was not used, and what was forgotten.
        is_stopped: whether the run ended before all files were processed, because it was asked to.
        files: new, changed, moved and gone files by what happens to them.
        is_planned: whether it is a dry run.
    """

    collection: Path
    num_new: int
    num_changed: int
    num_moved: int
    num_gone: int
    num_unchanged: int
    num_failed_before: int
    num_rows: int = 0
    failures: tuple[Failure, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    unfinished: tuple[str, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, int] = field(default_factory=dict)
    roots: frozenset[str] = frozenset()
    missing: tuple[str, ...] = ()
    moved_roots: tuple[Move, ...] = ()
    seen: Seen = field(default_factory=Seen)
    notes: tuple[str, ...] = ()
    is_stopped: bool = False
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_planned: bool = False

    @property
    def bottleneck(self) -> str:
        """The stage that took the longest."""
        return max(self.seconds, key=lambda stage: self.seconds[stage])

    @property
    def is_complete(self) -> bool:
        """Whether everything that was asked for is in the collection, as far as this run has seen."""
        return not (self.failures or self.unfinished or self.unreadable or self.absent or self.missing or self.seen.missing)

    @property
    def has_news(self) -> bool:
        """Whether anything differs from what the collection had, or needs the user."""
        return any(self.files.values()) or not self.is_complete

    def summary(self) -> str:
        """The first line."""
        counts = (
            f"{self.num_new} new, {self.num_changed} changed, {self.num_moved} moved, {self.num_gone} gone, "
            f"{self.num_unchanged} unchanged, {len(self.failures)} failed"
        )
        if self.is_planned:
            return f"Dry run, nothing was written: {counts}."
        return f"{counts}; {self.num_rows} rows written to {shown(self.collection)}"

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values. Paths that are not valid UTF-8 are escaped, see `media.file_names`."""
        counts = {each.name.removeprefix("num_"): getattr(self, each.name) for each in fields(self) if each.name.startswith("num_")}
        return {
            "collection": shown(self.collection),
            **counts,
            "left_out": dict(self.seen.left_out),
            "unread": dict(self.seen.unread),
            "failures": [{"path": escape(each.uri), "stage": each.stage, "reason": each.reason} for each in self.failures],
            "unreadable": {escape(uri): reason for uri, reason in self.unreadable.items()},
            "unfinished": list(map(escape, self.unfinished)),
            "absent": {escape(folder): count for folder, count in self.absent.items()},
            "missing": list(map(escape, (*self.missing, *self.seen.missing))),
            "broken_links": list(map(escape, self.seen.broken_links)),
            "moved_roots": {escape(move.old): escape(move.new) for move in self.moved_roots},
            "is_stopped": self.is_stopped,
            "planned": {what: list(map(escape, uris)) for what, uris in self.files.items()} if self.is_planned else None,
        }

    def remarks(self, *, brief: bool = False) -> Iterator[str]:
        """One line for each kind of thing that a user should know. `brief`: not what is left out at every run."""
        for move in self.moved_roots:
            yield f"{move.old} is now {move.new}: {move.num_files} files moved with it."
        for folder, count in sorted(self.absent.items()):
            forget = f"remove them with: --forget {shlex.quote(folder)}" if folder in self.roots else "index the folder above it."
            advice = f"If they are gone for good, {forget}"
            yield f"{folder}: absent. Its {count} files stay in the collection. {advice}"
        for path in self.missing:
            yield f"{path}: not there. What was indexed of it stays in the collection."
        yield from self._troubles()
        if not brief:
            yield from self._left_out()
        if self.seen.unread:
            counts = ", ".join(f"{count} {suffix}" for suffix, count in self.seen.unread.most_common())
            yield f"Pictures or films that cannot be read: {counts}."
        yield from self.notes
        if self.num_failed_before:
            yield f"Failed before and not changed: {self.num_failed_before}. Retry with --retry-failed."

    def _troubles(self) -> Iterator[str]:
        for uri, reason in list(self.unreadable.items())[:_SHOWN]:
            yield f"{uri}: cannot be read ({reason}). What was indexed of it stays."
        if len(self.unreadable) > _SHOWN:
            yield f"{len(self.unreadable) - _SHOWN} more files and folders cannot be read."
        if self.unfinished:
            yield f"Still being written: {len(self.unfinished)} files, left for the next run ({_some(self.unfinished)})."
        if self.seen.missing:
            yield f"Not there: {len(self.seen.missing)} files of the list ({_some(self.seen.missing)})."

    def _left_out(self) -> Iterator[str]:
        if self.seen.broken_links:
            yield f"Links to nothing: {len(self.seen.broken_links)} ({_some(self.seen.broken_links)})."
        if self.seen.loops:
            yield f"Links to a folder above them, not followed: {len(self.seen.loops)} ({_some(self.seen.loops)})."
        for link in self.seen.followed:
            yield f"{link.uri}: a link to {link.target}, which was indexed too."
        if self.seen.left_out:
            names = ", ".join(pattern for pattern, _ in self.seen.left_out.most_common(_SHOWN))
            yield f"Left out: {self.seen.left_out.total()} files and folders of other programs ({names}). Change this with --leave-out."
        if self.seen.num_hidden:
            yield f"Hidden, and left out: {self.seen.num_hidden} files and folders."
        if self.seen.num_special:
            yield f"Not files, and left out: {self.seen.num_special} pipes, sockets or devices."


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
