"""One file to its rows: `process(task, options) -> FileRows | Failure`.

It does not depend on executors, tables or progress, so any executor can run it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from PIL import Image

from indexer.batching import Pixels, Vectors
from indexer.plan import Task
from indexer.segments import picture_segments, video_segments
from indexer.stopwatch import Stopwatch
from media import MediaError, Metadata, VideoDecoder, make_thumbnail, read_picture
from media.formats import kind_of
from media.hashing import sha256_of_bytes
from media.sources.choose import source_of
from search.collection import Failure, FileRows
from search.schema import FileColumns, columns_from_metadata

_FRAMES_AT_ONCE = 16  # frames of a video that are embedded together


@dataclass(frozen=True)
class ProcessOptions:
    """How a file is processed.

    Attributes:
        preprocess: a picture to the pixels of the model, uint8 (H, W, 3).
        embed: pixels uint8 (N, H, W, 3) to float32 (N, E), each row of L2 norm 1. Several threads may call it at once.
        videos: decodes videos in worker processes.
        min_side: a JPEG may be decoded at a reduced scale with at least this many pixels a side.
        stopwatch: counts seconds by stage.
    """

    preprocess: Callable[[Image.Image], Pixels]
    embed: Callable[[Pixels], Vectors]
    videos: VideoDecoder
    min_side: int = 0
    stopwatch: Stopwatch = field(default_factory=Stopwatch)


def process(task: Task, options: ProcessOptions) -> FileRows | Failure:
    """Read, decode and embed one file. Any fault of the file becomes a `Failure`."""
    try:
        rows = _process_video(task, options) if kind_of(task.file.uri) == "video" else _process_picture(task, options)
        if source_of(task.file.uri).is_unchanged(task.file):
            return rows
        return task.failure("read", "It changed while it was read. The next run reads it again.")
    except MediaError as error:
        return task.failure(error.stage, error.reason)
    except OSError as error:
        return task.failure("read", error.strerror or str(error))


def _process_picture(task: Task, options: ProcessOptions) -> FileRows:
    with options.stopwatch.measure("read"):
        data = source_of(task.file.uri).read(task.file.uri)
        sha256 = sha256_of_bytes(data)
    with options.stopwatch.measure("decode"):
        picture = read_picture(data, min_side=options.min_side, name=task.file.uri)
        pixels, thumbnail = options.preprocess(picture.image), make_thumbnail(picture.image)
    del data
    (vector,) = options.embed(pixels[None])
    return FileRows(_columns(task, sha256, picture.metadata), picture_segments(vector), {None: thumbnail})


def _process_video(task: Task, options: ProcessOptions) -> FileRows:
    with options.stopwatch.measure("read"):
        source = source_of(task.file.uri)
        with source.open(task.file.uri) as file:
            sha256 = source.sha256(task.file.uri, file)
    times: list[float] = []
    thumbnails: dict[float | None, bytes] = {}
    vectors: list[Vectors] = []
    waiting: list[Pixels] = []
    with options.videos.open(task.file.uri) as video:
        frames = iter(video.frames)
        while True:
            with options.stopwatch.measure("decode"):
                if (frame := next(frames, None)) is not None:
                    image = Image.fromarray(frame.pixels)
                    times.append(frame.pts_seconds)
                    thumbnails[frame.pts_seconds] = make_thumbnail(image)
                    waiting.append(options.preprocess(image))
            if waiting and (frame is None or len(waiting) == _FRAMES_AT_ONCE):
                vectors.append(options.embed(np.stack(waiting)))
                waiting = []
            if frame is None:
                break
    segments = video_segments(np.concatenate(vectors), times, video.metadata["duration_seconds"])
    shown = {segment.frame_seconds: thumbnails[segment.frame_seconds] for segment in segments}
    return FileRows(_columns(task, sha256, video.metadata), segments, shown)


def _columns(task: Task, sha256: str, metadata: Metadata) -> FileColumns:
    known: dict[str, Any] = {
        "media_id": task.media_id,
        "root_id": task.root_id,
        "path": task.path,
        "size_bytes": task.file.size_bytes,
        "mtime": task.file.mtime,
        "revision": task.file.revision or None,
        "sha256": sha256,
        "indexed_at": datetime.now(UTC),
    }
    return FileColumns(**{**columns_from_metadata(metadata), **known})
