"""What there is to do: the files now, the roots that moved, and the plan. It reads the collection and changes nothing."""

import gc
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from indexer.changes.hashes import OnCheck
from indexer.changes.moved_roots import Move, find_moved_roots
from indexer.files.inputs import Inputs
from indexer.files.leave_out import DEFAULT, LeaveOut, choose
from indexer.options import IndexOptions
from indexer.plan import Plan, PlanOptions, make_plan
from indexer.scan import Scan, scan
from media.sources.folders import Folders
from search.collection import Failure, Identity, KnownFile
from search.collection.roots import inode_of_folder


@dataclass(frozen=True)
class Indexed:
    """What a collection holds: files and failures by uri."""

    identity: Identity
    known: Mapping[str, KnownFile] = field(default_factory=dict)
    failed: Mapping[str, Failure] = field(default_factory=dict)

    def split(self, root_ids: Collection[str]) -> tuple["Indexed", "Indexed"]:
        """What lies in some roots, and the rest."""
        if not root_ids:
            return Indexed(replace(self.identity, roots={})), self
        roots = {root_id: root for root_id, root in self.identity.roots.items() if root_id in root_ids}
        apart = self._only(roots.keys(), roots)
        others = {root_id: root for root_id, root in self.identity.roots.items() if root_id not in roots}
        return apart, self._only({"", *others}, others)

    def num_files(self) -> dict[str, int]:
        """The number of indexed files in each root, by its folder."""
        counts = Counter(file.root_id for file in self.known.values())
        return {root: counts[root_id] for root_id, root in self.identity.roots.items()}

    def moved(self, moves: Sequence[Move]) -> "Indexed":
        """The same with other folders for some roots. Roots inside them move with them."""
        if not moves:
            return self
        identity = self.identity
        for move in moves:
            identity = identity.move_root(move.root_id, move.new)
        known = (file._replace(uri=identity.uri_of(file.root_id, file.path)) for file in self.known.values())
        failed = (replace(each, uri=identity.uri_of(each.root_id, each.path)) for each in self.failed.values())
        return Indexed(identity, {file.uri: file for file in known}, {failure.uri: failure for failure in failed})

    def _only(self, root_ids: Collection[str], roots: Mapping[str, str]) -> "Indexed":
        known = {uri: file for uri, file in self.known.items() if file.root_id in root_ids}
        failed = {uri: failure for uri, failure in self.failed.items() if failure.root_id in root_ids}
        return Indexed(replace(self.identity, roots=roots), known, failed)


@dataclass(frozen=True)
class Survey:
    """What a run has to do. `identity` is that of the collection afterwards, with new and moved roots, without the `forgotten` ones."""

    identity: Identity
    scan: Scan
    plan: Plan
    moves: tuple[Move, ...]
    forgotten: Indexed


def scan_for(inputs: Inputs, indexed: Indexed, options: IndexOptions) -> Scan:
    """Find the files. Raises SourceError if there are none, or a path is wrong. To forget roots, no file is needed."""
    if (options.forget or options.retry_failed) and not inputs.is_named:
        return Scan()
    rules = LeaveOut(_choices(indexed.identity, options))
    return scan(inputs, rules=rules, roots=list(indexed.identity.roots.values()), known=indexed.known)


def survey(
    inputs: Inputs, indexed: Indexed, options: IndexOptions, *, found: Scan | None = None, on_check: OnCheck | None = None
) -> Survey:
    """Compare what is there with the collection. `found`: the scan, if there was one. Raises SourceError as `scan_for`."""
    forgotten, before = indexed.split(options.forget)
    found = found or scan_for(inputs, before, options)
    choices = _choices(before.identity, options)
    moves = find_moved_roots(found, before.known, before.identity)
    now = before.moved(moves)
    moved_roots = frozenset(dict(now.identity.roots.items() - before.identity.roots.items()))  # also those inside them
    identity = replace(now.identity, leave_out=None if choices == (DEFAULT,) else choices)
    for folder in found.roots:
        identity = identity.with_root(folder)
    for folder in found.mounts:
        if any(uri in Folders([folder]) for uri in found.files):
            identity = identity.with_root(folder, is_mount=True)
    compared = PlanOptions(options.retry_failed, options.check_content, LeaveOut(choices), moved_roots, on_check)
    plan = make_plan(found, now.known, now.failed, identity, compared)
    return Survey(_with_inodes(identity, found, plan), found, plan, tuple(moves), forgotten)


@contextmanager
def paused_garbage_collection() -> Iterator[None]:
    """Without Python's search for cycles. It would look at a million new objects again and again, and none of them is in a cycle."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _choices(identity: Identity, options: IndexOptions) -> tuple[str, ...]:
    return choose((DEFAULT,) if identity.leave_out is None else identity.leave_out, options.leave_out)


def _with_inodes(identity: Identity, found: Scan, plan: Plan) -> Identity:
    """The identity with the folders that were found. A root that is absent or was not scanned keeps its inode."""
    scanned, absent = Folders(each.folder for each in found.selections), Folders(plan.absent)
    inodes = {root_id: inode for root_id, inode in identity.root_inodes.items() if root_id in identity.roots}
    for root_id, folder in identity.roots.items():
        if folder in scanned and folder not in absent and (inode := inode_of_folder(folder)):
            inodes[root_id] = inode
    return replace(identity, root_inodes=inodes)
