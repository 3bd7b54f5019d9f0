"""`index()`: scan -> plan -> process -> write, on this machine."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from coca_model import Encoder, load
from indexer.local_executor import LocalExecutor, default_workers
from indexer.plan import make_plan
from indexer.scan import scan
from indexer.stopwatch import Stopwatch
from search.collection import CollectionWriter, Failure, default_path
from search.collection.bucket import place
from search.collection.identity import read_raw_identity
from search.errors import NoCollectionError

Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class IndexOptions:
    """How to index.

    Attributes:
        batch: frames that are embedded together.
        workers: files that are read and decoded at once.
        video_limit_seconds: how long a video may go without a frame before it is given up.
        retry_failed: also try files that failed before and have not changed.
    """

    batch: int = 32
    workers: int = field(default_factory=default_workers)
    video_limit_seconds: float = 60.0
    retry_failed: bool = False


@dataclass(frozen=True)
class Report:
    """What a run of the indexer did. `seconds` are by stage, summed over threads. `failures` are from this run only."""

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
    """Bring a collection up to date with folders and files. Only new, changed, moved and deleted files cost time.

    Args:
        paths: folders or files.
        collection: the folder of the collection, or its address in a bucket, created if missing; None for the user's default.
        model: what `coca_model.load` takes; by default the model of the collection, or "default" for a new collection.
        encoder: the model, if already loaded.
        options: see `IndexOptions`.
        on_progress: called with three counts: files done, all files, failed files.

    Raises:
        SourceError: a path does not exist, or there is nothing to index. The collection does not change.
        LockedError: another process is writing to the collection.
        IncompatibleError: the collection was made with another model or by a newer program.
        CheckpointError: the model cannot be loaded.
    """
    options = options or IndexOptions()
    found = scan([paths] if isinstance(paths, str | os.PathLike) else list(paths))
    folder = place.local_folder(collection) if collection is not None else default_path()
    place.pull(folder)
    name = _lasting(model) if model else _own_model(folder)
    encoder = encoder or load(name)
    stopwatch = Stopwatch()
    with CollectionWriter(folder, encoder, model=name) as writer:
        writer.add_roots(found.folders)
        plan = make_plan(found, writer.known_files(), writer.known_failures(), writer.identity, retry_failed=options.retry_failed)
        writer.relocate(plan.relocate)
        writer.remove(file.media_id for file in plan.gone)
        writer.forget_failures(plan.settled_failures)
        failures = list(plan.new_failures)
        writer.add_failures(failures)
        if on_progress:
            on_progress(0, len(plan.tasks), 0)
        executor = LocalExecutor(
            encoder, workers=options.workers, batch=options.batch, video_limit_seconds=options.video_limit_seconds, stopwatch=stopwatch
        )
        for done, result in enumerate(executor.run(plan.tasks), start=1):
            with stopwatch.measure("write"):
                if isinstance(result, Failure):
                    failures.append(result)
                    writer.add_failures([result])
                else:
                    writer.add(result)
            if on_progress:
                on_progress(done, len(plan.tasks), len(failures))
        with stopwatch.measure("write"):
            writer.finish()
    return Report(
        folder,
        plan.num_new,
        plan.num_changed,
        plan.num_moved,
        len(plan.gone),
        plan.num_unchanged,
        plan.num_failed_before,
        writer.num_rows,
        tuple(failures),
        dict(stopwatch.seconds),
    )


def _lasting(model: str) -> str:
    """An existing path as an absolute one, because later runs may start in another folder. Other names do not change.

    Links stay: in the hub's cache they lead to files without a suffix, and without a config beside them.
    """
    with suppress(OSError, RuntimeError):  # too long for a path, or no such user: `load` reports it
        path = Path(model).expanduser().absolute()
        if model != "default" and path.exists():
            return str(path)
    return model


def _own_model(folder: Path) -> str:
    try:
        return str(read_raw_identity(folder).get("model", "default"))
    except NoCollectionError:
        return "default"
