"""`read_in()`: rows and vectors from files into a collection (`coca-search import`).

Rows that coca-search exported are taken as they are. Rows of other programs have only a path and a vector, so their files are read as
the indexer reads them, with the vector in place of the model.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from coca_model import load
from coca_model.checkpoints.find import lasting_name
from indexer.errors import ExchangeError
from indexer.exchange.files import Files, find_files, read_batches
from indexer.exchange.foreign import ForeignRow, folders_of, foreign_rows, options_without_model, read_foreign
from indexer.exchange.rows import files_of
from indexer.exchange.take_in import Intake, TakenIn, existing_identity, maker_of, moved_uri
from media import MediaError, VideoDecoder, make_thumbnail
from media.cpus import num_cpus
from media.moment import picture_at
from media.sources.choose import sha256_of
from search.collection import CollectionWriter, FileRows, Identity, default_path
from search.collection.bucket.place import newest_folder

if TYPE_CHECKING:
    from coca_model import Encoder

_AHEAD = 64  # files that are read at once
_INCOMPLETE = f"+s{0:016x}"  # in a revision: sidecars that no file has
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class ImportOptions:
    """How to import.

    Attributes:
        moved: folders that lie elsewhere on this machine: {old folder: new folder}.
        keep_missing: also take rows of other programs whose files are not on this machine. Searches find them, without thumbnails.
        thumbnails: make thumbnails for rows that coca-search exported, from the files that are here.
    """

    moved: Mapping[str, str] = field(default_factory=dict)
    keep_missing: bool = False
    thumbnails: bool = True


def read_in(
    path: str | os.PathLike[str],
    *,
    collection: str | os.PathLike[str] | None = None,
    model: str | None = None,
    encoder: "Encoder | None" = None,
    options: ImportOptions | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> TakenIn:
    """Take rows and vectors from files into a collection, which is made if it is missing.

    All files are checked before the first row is written. Of a file that the collection has already, the version that was indexed later
    stays; a row of another program never replaces one. An import that was stopped leaves the collection sound, and the next one goes on.

    Args:
        path: a Parquet file, a folder of them, or a folder with `img_emb` and `metadata` of clip-retrieval.
        collection: the folder of the collection; None for the user's default.
        model: what `coca_model.load` takes: the model that made the vectors. Needed for files of other programs.
        encoder: the model, if already loaded.
        options: see `ImportOptions`.
        on_progress: called with the number of files done.

    Raises:
        ExchangeError: damaged files, or unknown model. Nothing was changed.
        IncompatibleError: vectors of another model than the collection's. CheckpointError: the model cannot be loaded.
        LockedError: another process is writing to the collection.
    """
    folder, options = newest_folder(collection if collection is not None else default_path()), options or ImportOptions()
    files, mine = find_files(Path(path)), existing_identity(folder)
    maker = encoder or (load(model) if model else _maker(files, Path(path)))
    for identity, where in ((files.identity, Path(path)), (mine, folder)):
        if identity is not None:
            identity.check(maker, where)
    roots = _check(files, maker.config.embedding_width, options)
    known_model = mine or files.identity
    name = lasting_name(model or "default") if model or known_model is None else known_model.model
    with CollectionWriter(folder, maker, model=name) as writer:
        writer.add_roots(roots)
        intake = Intake(writer, on_progress)
        if files.identity is None:
            _take_foreign(files, maker.config.embedding_width, intake, options)
        else:
            _take_exported(files, files.identity, intake, options)
        writer.finish()
    return intake.report


def _maker(files: Files, path: Path) -> "Encoder":
    if files.identity is None:
        raise ExchangeError(f"{path}: does not say which model made its vectors. Name it with --model, as for `coca-search index`.")
    return maker_of(files.identity)


def _check(files: Files, width: int, options: ImportOptions) -> list[str]:
    """Read everything once. Returns the folders that should be roots."""
    batches = read_batches(files, width)
    if files.identity is None:
        rows = foreign_rows(batches, options.moved)
        return folders_of(row.uri for row in rows if row.uri and (row.is_here or options.keep_missing))
    used = {rows.file.root_id for rows in files_of(batches)}
    return [moved_uri(folder, options.moved) for root_id, folder in files.identity.roots.items() if root_id in used]


def _take_exported(files: Files, identity: Identity, intake: Intake, options: ImportOptions) -> None:
    def with_thumbnails(file: tuple[str, FileRows]) -> FileRows:
        uri, rows = file
        if files.is_part and rows.file.duration_seconds is not None:  # the next run of the indexer reads the film again
            rows = replace(rows, file=replace(rows.file, revision=(rows.file.revision or "") + _INCOMPLETE))
        return replace(rows, thumbnails=_thumbnails(uri, rows) if options.thumbnails else {})

    def wanted() -> Iterator[tuple[str, FileRows]]:
        for rows in files_of(read_batches(files, identity.embedding_width)):
            uri = moved_uri(identity.uri_of(rows.file.root_id, rows.file.path), options.moved)
            if intake.wants(uri, rows.file.indexed_at):
                yield uri, rows

    for (uri, _), rows in _in_parallel(with_thumbnails, wanted()):
        intake.add(uri, rows)


def _take_foreign(files: Files, width: int, intake: Intake, options: ImportOptions) -> None:
    def wanted() -> Iterator[ForeignRow]:
        for row in foreign_rows(read_batches(files, width), options.moved):
            if not row.uri:
                intake.report.skip("a row", "without a path or address")
            elif not row.is_here and not options.keep_missing:
                intake.report.skip(row.uri, "not on this machine")
            elif intake.wants(row.uri):
                yield row

    with VideoDecoder() as videos:
        reading = options_without_model(videos)
        for row, result in _in_parallel(lambda row: read_foreign(row, reading), wanted()):
            if isinstance(result, str):
                intake.report.skip(f"{row.uri}: {result}", "not readable as a picture")
            elif intake.wants(row.uri):  # again, because the rows that were read at once may name a file twice
                intake.add(row.uri, result)


def _thumbnails(uri: str, rows: FileRows) -> dict[float | None, bytes]:
    """Thumbnails from the file; none if it is not here, or has other bytes now."""
    try:
        if sha256_of(uri) != rows.file.sha256:
            return {}
        moments = {segment.frame_seconds for segment in rows.segments}
        return {seconds: make_thumbnail(picture_at(uri, seconds)) for seconds in moments}
    except (OSError, MediaError):
        return {}


def _in_parallel(function: Callable[[_Item], _Result], items: Iterator[_Item]) -> Iterator[tuple[_Item, _Result]]:
    """Each item with its result, in order. Only a few items are taken before their results are used."""
    with ThreadPoolExecutor(num_cpus()) as pool:
        while some := list(islice(items, _AHEAD)):
            yield from zip(some, pool.map(function, some), strict=True)
