"""What there is to do: the files now, the roots that moved, and the plan. It reads the collection and changes nothing."""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

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
class Survey:
    """What a run has to do. `identity` is that of the collection afterwards, with new and moved roots."""

    identity: Identity
    scan: Scan
    plan: Plan
    moves: tuple[Move, ...]


def scan_for(inputs: Inputs, identity: Identity, options: IndexOptions, known: Mapping[str, KnownFile]) -> Scan:
    """Find the files. Raises SourceError if there are none, or a path is wrong."""
    rules = LeaveOut(_choices(identity, options))
    return scan(inputs, rules=rules, roots=list(identity.roots.values()), known=known)


def survey(
    found: Scan,
    identity: Identity,
    known: Mapping[str, KnownFile],
    failed: Mapping[str, Failure],
    options: IndexOptions,
    on_check: OnCheck | None = None,
) -> Survey:
    """Compare what was found with the collection."""
    choices = _choices(identity, options)
    identity = replace(identity, leave_out=None if choices == (DEFAULT,) else choices)
    moves = find_moved_roots(found, known, identity)
    before = identity
    for move in moves:
        identity = identity.move_root(move.root_id, move.new)
    moved_roots = frozenset(dict(identity.roots.items() - before.roots.items()))  # also those inside them
    if moves:
        known = {file.uri: file for file in (_at(file, identity) for file in known.values())}
        failed = {failure.uri: failure for failure in (_failure_at(failure, identity) for failure in failed.values())}
    for folder in found.roots:
        identity = identity.with_root(folder)
    for folder in found.mounts:
        if any(uri in Folders([folder]) for uri in found.files):
            identity = identity.with_root(folder, is_mount=True)
    compared = PlanOptions(options.retry_failed, options.check_content, LeaveOut(choices), moved_roots, on_check)
    plan = make_plan(found, known, failed, identity, compared)
    return Survey(_with_inodes(identity, found, plan), found, plan, tuple(moves))


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


def _at(file: KnownFile, identity: Identity) -> KnownFile:
    return file._replace(uri=identity.uri_of(file.root_id, file.path))


def _failure_at(failure: Failure, identity: Identity) -> Failure:
    return replace(failure, uri=identity.uri_of(failure.root_id, failure.path))
