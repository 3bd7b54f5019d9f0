"""`index()`: scan -> plan -> process -> write, on this machine."""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coca_model.checkpoints.find import lasting_name
from indexer.anew import make_anew, nothing_to_do
from indexer.changes.hashes import OnCheck
from indexer.files.inputs import Inputs, StrPath, read_inputs
from indexer.files.manifest import Manifest, described, read_manifest
from indexer.options import IndexOptions
from indexer.preview import preview, report_of
from indexer.processing.progress import Progress, ProgressMeter, in_fair_order
from indexer.processing.stopwatch import Stopwatch
from indexer.processing.unfinished import Unfinished, has_changed
from indexer.report import Report
from indexer.survey import Indexed, paused_garbage_collection, scan_for, survey
from media.sources.addresses import is_address, name_of
from media.sources.choose import source_of
from media.sources.source import SourceFile
from search.collection import CollectionWriter, Failure, FileRows, Identity, KnownFile, default_path
from search.collection.bucket import place
from search.collection.generations.folders import home_of
from search.collection.identity import is_below, read_identity, read_raw_identity
from search.collection.lance_tables import FAILURES, SEGMENTS, LanceTable
from search.collection.rows import known_failures, known_files
from search.errors import NoCollectionError
from search.schema import TAKEN, columns_from_metadata

if TYPE_CHECKING:
    from coca_model import Encoder
    from indexer.plan import Task

_RECENT_SECONDS = 2.0  # a file that changed less than this ago may still be growing


def index(
    paths: Sequence[StrPath] | StrPath,
    *,
    listed: Iterable[StrPath] = (),
    manifest: StrPath | None = None,
    collection: StrPath | None = None,
    model: str | None = None,
    encoder: "Encoder | None" = None,
    new_model: bool = False,
    options: IndexOptions | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_check: OnCheck | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Report:
    """Bring a collection up to date with folders and files. Only new, changed, moved and deleted files cost time.

    Args:
        paths: folders, files, and patterns such as `~/Pictures/**/*.heic`. With none, but `options.retry_failed`: all files that failed.
        listed: more folders and files. One that does not exist is told, and does not stop the run.
        manifest: a CSV or Parquet file that names files and describes them, see `indexer.files.manifest`.
        collection: the folder of the collection, or its address in a bucket, created if missing; None for the user's default.
        model: what `coca_model.load` takes; by default the model of the collection, or "default" for a new collection.
        encoder: the model, if already loaded. Otherwise it is loaded if there is something to embed.
        new_model: if the collection was made with another model, first make it anew with this one, see `indexer.anew`. No path is needed.
        options: see `IndexOptions`.
        on_progress: called at the start, after each file, and after each 16 frames of a film; on the thread that called `index`.
        on_check: called with two counts while files are read to see whether they changed: files read, files to read.
        should_stop: asked between files. If true, the files in progress are finished, and what is done is kept.

    Raises:
        SourceError: a path does not exist, or there is nothing to index. The collection does not change.
        LockedError: another process is writing to the collection.
        OtherModelError: the collection was made with another model, and `new_model` is false. IncompatibleError: by a newer program.
        StorageError: the collection cannot be written, for example because the disk is full. What was committed before is kept.
        CheckpointError: the model cannot be loaded.
    """
    options = options or IndexOptions()
    folder = place.newest_folder(collection if collection is not None else default_path())
    said = read_manifest(manifest) if manifest is not None else Manifest({})
    identity = _identity(folder)
    if options.retry_failed and not (paths or listed or manifest or options.forget):
        listed = known_failures(LanceTable(folder, FAILURES), read_identity(folder))
    inputs = read_inputs(paths, listed=listed, columns=said.columns, roots=list(identity.roots.values()))
    options = replace(options, forget=tuple(dict.fromkeys(_to_forget(each, identity, new_model=new_model) for each in options.forget)))
    forgotten = {identity.roots.get(each, each) for each in options.forget}
    inputs = replace(inputs, missing=tuple(path for path in inputs.missing if path not in forgotten))
    if options.dry_run:
        report = preview(folder, identity, inputs, options, on_check)
    elif new_model and identity.collection_id:
        report = _Run(folder, options, on_progress, should_stop).run_anew(inputs, model, encoder, on_check)
    else:
        report = _Run(folder, options, on_progress, should_stop).run(inputs, model, encoder, on_check)
    return replace(report, collection=home_of(folder), notes=(*said.notes, *report.notes))


class _Run:
    """One run."""

    def __init__(
        self, folder: Path, options: IndexOptions, on_progress: Callable[[Progress], None] | None, should_stop: Callable[[], bool]
    ) -> None:
        self._folder, self._options, self._on_progress, self._should_stop = folder, options, on_progress, should_stop
        self._stopwatch = Stopwatch()
        self._failures: list[Failure] = []
        self._unfinished: list[str] = []
        self._num_done = {False: 0, True: 0}  # tasks, by whether they were indexed before
        self._num_rows = 0

    def run_anew(self, inputs: Inputs, model: str | None, encoder: "Encoder | None", on_check: OnCheck | None) -> Report:
        """Make the collection anew if it is of another model. When that is done, an ordinary run for the inputs, if there are any."""
        identity = read_identity(self._folder)
        if inputs.is_named:  # a wrong path must not be told after hours
            scan_for(inputs, Indexed(identity, known_files(LanceTable(self._folder, SEGMENTS), identity)), self._options)
        name = lasting_name(model) if model else identity.model
        loaded = encoder or _load(name)
        if identity.fits(loaded):
            for root_id in self._options.forget:
                identity.root(root_id)
            is_asked = inputs.is_named or self._options.forget
            return self.run(inputs, name, loaded, on_check) if is_asked else self._report(nothing_to_do(self._folder))

        def process(tasks: Sequence["Task"], writer: CollectionWriter, columns: Mapping[str, Mapping[str, Any]]) -> None:
            self._process(tasks, loaded, writer, columns)

        done = make_anew(self._folder, loaded, model=name, forget=self._options.forget, process=process)
        self._num_rows += done.num_rows
        if done.is_complete and inputs.is_named and not self._should_stop():
            self._folder = done.folder
            report = self.run(inputs, name, loaded, on_check)
        else:
            report = self._report(Report(self._folder, 0, 0, 0, 0, 0, 0, roots=frozenset(identity.roots.values())))
        return done.add_to(report)

    def run(self, inputs: Inputs, model: str | None, encoder: "Encoder | None", on_check: OnCheck | None) -> Report:
        is_new = not (self._folder / "collection.json").exists()
        own_model = _own_model(self._folder)
        name = lasting_name(model) if model else own_model
        first = scan_for(inputs, Indexed(_identity(self._folder)), self._options) if is_new else None  # a wrong path makes no collection
        if encoder is None and (is_new or name != own_model):
            encoder = _load(name)
        with CollectionWriter(self._folder, encoder, model=name) as writer:
            if encoder is None:
                writer.identity.check_weights(self._folder)
            with paused_garbage_collection():
                indexed = Indexed(writer.identity, writer.known_files(), writer.known_failures())
                todo = survey(inputs, indexed, self._options, found=first, on_check=on_check)
            writer.remove(file.media_id for file in todo.forgotten.known.values())
            writer.forget_failures(list(todo.forgotten.failed.values()))
            writer.update_identity(todo.identity)
            writer.relocate(todo.plan.relocate, _times)
            writer.remove(file.media_id for file in todo.plan.gone)
            writer.forget_failures(todo.plan.settled_failures)
            if todo.plan.tasks:
                encoder = encoder or _load(name)
                writer.check(encoder)
                self._process(todo.plan.tasks, encoder, writer, inputs.columns)
            with self._stopwatch.measure("write"):
                writer.finish()
            self._num_rows += writer.num_rows
        return self._report(report_of(self._folder, todo))

    def _report(self, report: Report) -> Report:
        """A report with what was done so far."""
        return replace(
            report,
            num_new=self._num_done[False],
            num_changed=self._num_done[True],
            num_rows=self._num_rows,
            failures=tuple(self._failures),
            seconds=dict(self._stopwatch.seconds),
            unfinished=tuple(self._unfinished),
            is_stopped=self._should_stop(),
        )

    def _process(
        self, tasks: Sequence["Task"], encoder: "Encoder", writer: CollectionWriter, columns: Mapping[str, Mapping[str, Any]]
    ) -> None:
        from indexer.processing.local_executor import LocalExecutor

        options = self._options
        executor = LocalExecutor(
            encoder,
            workers=options.workers,
            batch=options.batch,
            video_limit_seconds=options.video_limit_seconds,
            stopwatch=self._stopwatch,
        )
        tasks = in_fair_order(tasks)
        indexed = {task.file.uri: task.media_id for task in tasks if task.was_indexed}
        kept = writer.from_manifest(indexed.values())  # by a manifest that this run may not have
        columns = {**{uri: kept[media_id] for uri, media_id in indexed.items() if media_id in kept}, **columns}
        may_grow: list[FileRows | Failure] = []
        meter = ProgressMeter(tasks, self._stopwatch)
        self._tell(meter.now())
        for done in executor.run(tasks, should_stop=self._should_stop, on_part=lambda part: self._tell(meter.add_part(part))):
            self._num_done[done.task.was_indexed] += 1
            if isinstance(done.result, Unfinished):
                self._unfinished.append(done.task.file.uri)
            elif _may_grow(done.result):
                may_grow.append(done.result)
            else:
                self._write(done.result, writer, indexed, columns)
            self._tell(meter.add(done))
        if may_grow and not self._should_stop():
            time.sleep(options.settle_seconds)
        for result in may_grow:
            if has_changed(_file_of(result, writer.identity)):
                self._unfinished.append(_file_of(result, writer.identity).uri)
            else:
                self._write(result, writer, indexed, columns)

    def _tell(self, progress: Progress) -> None:
        if self._on_progress:
            self._on_progress(progress)

    def _write(
        self,
        result: FileRows | Failure,
        writer: CollectionWriter,
        indexed: Mapping[str, int],
        columns: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Store a result. A file that became broken loses its older rows; one that could not be read may be whole, and keeps them."""
        with self._stopwatch.measure("write"):
            if isinstance(result, Failure):
                self._failures.append(result)
                is_broken = result.stage != "read" and result.uri in indexed
                writer.add_failures([result], broken=[indexed[result.uri]] if is_broken else [])
            else:
                said = columns.get(_file_of(result, writer.identity).uri)
                writer.add(replace(result, file=described(result.file, said)) if said else result)


def _may_grow(result: FileRows | Failure) -> bool:
    """Whether a file changed just now and may be only the first part of one: it is broken or damaged, or a film."""
    file = result if isinstance(result, Failure) else result.file
    is_part = file.stage != "read" if isinstance(file, Failure) else bool(file.damaged) or file.duration_seconds is not None
    return is_part and 0 <= time.time() - file.mtime < _RECENT_SECONDS


def _file_of(result: FileRows | Failure, identity: Identity) -> SourceFile:
    if isinstance(result, Failure):
        return SourceFile(result.uri, result.size_bytes, result.mtime, result.revision or "")
    file = result.file
    return SourceFile(identity.uri_of(file.root_id, file.path), file.size_bytes, file.mtime, file.revision or "")


def _times(file: KnownFile, source: str | None) -> Mapping[str, Any]:
    """The columns of the time of a file that has another name or time now; nothing if the file itself tells it."""
    from media.metadata.file import FROM_OUTSIDE, file_metadata

    if source not in FROM_OUTSIDE:
        return {}
    found = columns_from_metadata(file_metadata({}, name=name_of(file.uri), mtime=file.mtime, sidecars={}))
    return {name: found.get(name) for name in TAKEN}


def _to_forget(text: str, identity: Identity, *, new_model: bool) -> str:
    """The id of a root, by its id or folder; or what is below a root, if the collection is made anew. Raises QueryError for another."""
    path = source_of(text).resolve(text if is_address(text) else os.path.expanduser(text))  # noqa: PTH111
    is_root = text in identity.roots or path in identity.roots.values()
    if new_model and not is_root and any(is_below(path, root) for root in identity.roots.values()):
        return path
    return identity.find_root(text)


def _identity(folder: Path) -> Identity:
    """The identity of a collection; one without roots if there is no collection yet."""
    try:
        return read_identity(folder)
    except NoCollectionError:
        return Identity("", "", "", "", 0)


def _load(model: str) -> "Encoder":
    from coca_model import load

    return load(model)


def _own_model(folder: Path) -> str:
    try:
        return str(read_raw_identity(folder).get("model", "default"))
    except NoCollectionError:
        return "default"
