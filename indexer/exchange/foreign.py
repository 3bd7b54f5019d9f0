"""Rows of other programs: a path or address, perhaps a caption, and a vector.

A picture that is on this machine is read as the indexer reads it, with its vector in place of the model. So it gets the same columns.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.exchange.rows import Batch
from indexer.exchange.take_in import moved_uri
from indexer.plan import Task
from indexer.processing.process import ProcessOptions, process
from media import VideoDecoder
from media.formats import kind_of
from media.sources.addresses import is_address
from media.sources.choose import source_of
from media.thumbnails import LONG_SIDE
from search.collection import Failure, FileRows, Segment
from search.collection.migrations import common_roots
from search.schema import FileColumns, new_media_id

_UNKNOWN: Mapping[str, Any] = {"size_bytes": 0, "mtime": 0.0, "sha256": "", "width": 0, "height": 0}  # of a file that nobody looked at


@dataclass(frozen=True)
class ForeignRow:
    """A row of another program. `uri` is empty if it names no file. `vector`: float32 (E,), L2 norm 1."""

    uri: str
    is_here: bool
    caption: str | None
    vector: NDArray[np.float32]


def foreign_rows(batches: Iterable[Batch], moved: Mapping[str, str]) -> Iterator[ForeignRow]:
    """The rows of `read_batches`, with their files looked up on this machine. `moved`: {old folder: new folder}."""
    folder_of = lru_cache(1 << 16)(lambda folder: source_of(folder).resolve(folder).rstrip(os.sep))

    def uri_of(path: str) -> str:
        uri = moved_uri(path if is_address(path) else str(Path(path).absolute()), moved)
        folder, _, name = uri.rpartition(os.sep)
        return uri if is_address(uri) else f"{folder_of(folder + os.sep)}{os.sep}{name}"

    for rows, vectors in batches:
        for row, vector in zip(rows, vectors, strict=True):
            given = row["url"], row["image_path"] or row["uri"] or row["path"]
            uris = [uri_of(path) for path in given if path and "\0" not in path]
            here = [uri for uri in uris if Path(uri).is_file()]
            yield ForeignRow((here or uris or [""])[0], bool(here), row["caption"] or None, vector)


def folders_of(uris: Iterable[str]) -> list[str]:
    """The folder that contains all files of this machine, see `common_roots`."""
    return common_roots([*{Path(uri).parent: uri for uri in uris if not is_address(uri)}.values()])


def options_without_model(videos: VideoDecoder) -> ProcessOptions:
    """How to read pictures whose vectors are known."""
    return ProcessOptions(lambda _: np.zeros((1, 1, 3), np.uint8), videos, LONG_SIDE)


def read_foreign(row: ForeignRow, options: ProcessOptions) -> FileRows | str:
    """The file of a row with its vector, or the reason why it cannot be read."""
    media_id, picture = new_media_id(row.uri), Segment("image", row.vector)
    if not row.is_here:
        now = datetime.now(UTC)
        file = FileColumns(media_id=media_id, root_id="", path=row.uri, indexed_at=now, description=row.caption, **_UNKNOWN)
        return FileRows(file, (picture,), {})
    if kind_of(row.uri) == "video":
        return "a video, and clip-retrieval has vectors of pictures only"
    try:
        result = _process(Task(media_id, "", row.uri, source_of(row.uri).stat(row.uri)), row.vector, options)
    except OSError as error:
        return error.strerror or str(error)
    if isinstance(result, Failure):
        return result.reason
    thumbnails: dict[float | None, bytes] = {seconds: webp for seconds, webp in result.thumbnails.items() if seconds is None}
    return FileRows(replace(result.file, description=result.file.description or row.caption), (picture,), thumbnails)


def _process(task: Task, vector: NDArray[np.float32], options: ProcessOptions) -> FileRows | Failure:
    """Run `process`, and answer all pixels with the vector."""
    steps = process(task, options)
    try:
        step = next(steps)
        while True:
            step = steps.send(np.repeat(vector[None], len(step.pixels), axis=0))
    except StopIteration as done:
        result: FileRows | Failure = done.value
        return result
