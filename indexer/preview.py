"""`index --dry-run`: the plan of a run. It makes no collection, takes no lock and loads no model."""

from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from indexer.changes.hashes import OnCheck
from indexer.files.inputs import Inputs
from indexer.options import IndexOptions
from indexer.report import Report
from indexer.survey import Indexed, Survey, paused_garbage_collection, survey
from media.sources.folders import Folders
from search.collection import Identity
from search.collection.lance_tables import FAILURES, SEGMENTS, LanceTable
from search.collection.rows import known_failures, known_files


def preview(folder: Path, identity: Identity, inputs: Inputs, options: IndexOptions, on_check: OnCheck | None = None) -> Report:
    """What `index` would do with a collection, which may not exist yet.

    Raises:
        SourceError: a path does not exist, or there is nothing to index. IncompatibleError: the tables cannot be read.
    """
    exists = (folder / "collection.json").exists()
    with paused_garbage_collection():
        known = known_files(LanceTable(folder, SEGMENTS), identity) if exists else {}
        failed = known_failures(LanceTable(folder, FAILURES), identity) if exists else {}
        todo = survey(inputs, Indexed(identity, known, failed), options, on_check=on_check)
    return report_of(folder, todo, planned=True)


def report_of(folder: Path, todo: Survey, *, planned: bool = False) -> Report:
    """What a survey says, before anything is processed."""
    plan, found = todo.plan, todo.scan
    files = {
        "new": tuple(task.file.uri for task in plan.tasks if not task.was_indexed),
        "changed": tuple(task.file.uri for task in plan.tasks if task.was_indexed),
        "moved": tuple(plan.moved),
        "gone": tuple(file.uri for file in plan.gone),
    }
    return Report(
        folder,
        num_new=plan.num_new,
        num_changed=plan.num_changed,
        num_moved=plan.num_moved,
        num_gone=len(plan.gone),
        num_unchanged=plan.num_unchanged,
        num_failed_before=plan.num_failed_before,
        unreadable=found.unreadable,
        absent=plan.absent,
        roots=frozenset(todo.identity.roots.values()),
        missing=found.missing,
        moved_roots=todo.moves,
        seen=found.seen,
        notes=tuple(_forgotten(todo)),
        files=files,
        is_planned=planned,
    )


def _forgotten(todo: Survey) -> Iterator[str]:
    """What is to be told of roots that are forgotten."""
    folders = todo.forgotten.num_files()
    for folder, count in folders.items():
        yield f"{folder}: forgotten, with {count} files."
    forgotten = Folders(folders)
    for root in sorted(todo.identity.roots.values()):
        if root in forgotten and root not in folders:
            yield f"{root}: not forgotten. It lies inside, but was indexed by itself or is a drive. Forget it with: --forget {quote(root)}"
