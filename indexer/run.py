"""`index()`: scan -> plan -> decode -> embed -> write, on this machine."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from coca_model import Encoder, load
from indexer.decode import Clock, FileDone, FileFailed, decode
from indexer.embed import embed
from indexer.plan import Plan, make_plan
from indexer.scan import scan
from indexer.write import RowWriter
from search.collection import default_path, read_identity
from search.errors import NoCollectionError
from search.writer import CollectionWriter, Failure

Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class IndexOptions:
    """How to index: `workers` decoding threads, pictures in a batch, seconds without a frame before a video is given up."""

    batch: int = 32
    workers: int = field(default_factory=lambda: min(8, os.cpu_count() or 1))
    video_limit_seconds: float = 60.0
    retry_failed: bool = False


@dataclass(frozen=True)
class Report:
    """What a run of the indexer did. `seconds` are by stage, summed over threads; `failures` are those of this run."""

    collection: Path
    num_new: int
    num_changed: int
    num_moved: int
    num_gone: int
    num_unchanged: int
    num_failed_before: int
    num_rows: int
    failures: tuple[Failure, ...]
    seconds: dict[str, float]

    @property
    def bottleneck(self) -> str:
        """The stage that took the longest."""
        return max(self.seconds, key=lambda stage: self.seconds[stage])


def index(
    paths: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    *,
    collection: str | os.PathLike[str] | None = None,
    model: str | None = None,
    encoder: Encoder | None = None,
    options: IndexOptions | None = None,
    on_progress: Progress | None = None,
) -> Report:
    """Bring a collection up to date with folders and files: new, changed, moved and gone ones; the rest is left alone.

    Args:
        paths: folders or files.
        collection: its directory, made where there is none; this user's default one when absent.
        model: what `coca_model.load` takes; by default the collection's own model, or "default" for a new collection.
        encoder: the model if it is loaded already.
        options: see `IndexOptions`.
        on_progress: called with files done, files in all, and files failed so far.

    Raises:
        SourceError: a path is not there, or there is nothing to index; nothing is changed then.
        LockedError: another process is indexing into the collection.
        IncompatibleError: the collection was made with another model or by a newer program.
        CheckpointError: the model cannot be loaded.
    """
    options = options or IndexOptions()
    found = scan([paths] if isinstance(paths, str | os.PathLike) else list(paths))
    folder = Path(collection) if collection is not None else default_path()
    name = _lasting(model) if model else _own_model(folder)
    encoder = encoder or load(name)
    clock = Clock()
    with CollectionWriter(folder, encoder, model=name) as writer:
        failed = writer.known_failures()
        plan = make_plan(found, writer.known_files(), failed, retry_failed=options.retry_failed)
        _settle(plan, writer)
        rows = RowWriter(writer, clock, failed)
        _run_tasks(plan, rows, encoder, clock, options, on_progress)
        new_problems = [problem for problem in found.problems if problem.uri not in failed]
        writer.record_failures(new_problems)
        writer.finish()
    return Report(
        folder,
        plan.num_new,
        plan.num_changed,
        plan.num_moved,
        len(plan.gone),
        plan.num_unchanged,
        plan.num_failed_before,
        rows.written.num_rows,
        (*new_problems, *rows.written.failures),
        dict(clock.seconds),
    )


def _lasting(model: str) -> str:
    """A path as seen from anywhere, since later runs start elsewhere; other names as they are.

    Links are not followed: in the hub's cache they lead to files without a name, and away from the config beside them.
    """
    with suppress(OSError, RuntimeError):  # too long for a path, or no such user: `load` says what is wrong with it
        path = Path(model).expanduser().absolute()
        if model != "default" and path.exists():
            return str(path)
    return model


def _own_model(folder: Path) -> str:
    try:
        return read_identity(folder).model
    except NoCollectionError:
        return "default"


def _settle(plan: Plan, writer: CollectionWriter) -> None:
    """What needs no model: files that moved, and files that are gone."""
    writer.relocate(plan.relocate)
    writer.remove(file.media_id for file in plan.gone)
    writer.forget_failures(plan.settled_failures)


def _run_tasks(plan: Plan, rows: RowWriter, encoder: Encoder, clock: Clock, options: IndexOptions, on_progress: Progress | None) -> None:
    done = num_failed = 0
    if on_progress:
        on_progress(0, len(plan.tasks), 0)
    items = decode(plan.tasks, encoder, clock, workers=options.workers, video_limit_seconds=options.video_limit_seconds)
    for item in embed(items, encoder, clock, batch=options.batch):
        rows.take(item)
        if isinstance(item, FileDone | FileFailed):
            done += 1
            num_failed += isinstance(item, FileFailed)
            if on_progress:
                on_progress(done, len(plan.tasks), num_failed)
    rows.commit()
