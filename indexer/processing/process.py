"""One file to its rows: `process(task, options)`, whose result is `FileRows | Failure`.

It is a generator: it yields steps, pixels that need vectors, and an executor sends the vectors back. So an executor can embed the frames of
several files together. It does not depend on executors, tables or progress, so any executor can run it.

A file is one of four things, and its first bytes say which, not its suffix: a picture; an animated picture, which is a film; a motion
photo, which is a picture with a film; or a film.
"""

import io
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from indexer.plan import Task
from indexer.processing.segments import picture_segments, video_segments
from indexer.processing.stopwatch import Stopwatch
from media import MediaError, VideoDecoder, make_thumbnail, read_picture
from media.formats import HEAD_BYTES, true_format
from media.metadata import file_metadata
from media.pictures.animation import read_animation
from media.pictures.motion_photo import find_film, may_hold_film
from media.sources.addresses import is_address, name_of
from media.sources.choose import source_of
from media.thumbnails import encode_thumbnail, perceptual_hash, shrink
from media.video.decoder import Video
from search.collection import Failure, FileRows, Segment
from search.schema import FileColumns, columns_from_metadata

Pixels = NDArray[np.uint8]
Vectors = NDArray[np.float32]
Thumbnails = dict[float | None, bytes]
_FRAMES_AT_ONCE = 16  # frames of a film that are embedded together
_BYTES_AT_ONCE = 128 << 20  # a smaller picture is read into memory; a larger one is read in parts


@dataclass(frozen=True)
class Step:
    """Pixels that need vectors: uint8 (N, H, W, 3). `share`: the part of the file, 0..1, that is done when they have them."""

    pixels: Pixels
    share: float = 0.0


Steps = Generator[Step, Vectors, FileRows | Failure]  # takes float32 (N, E), each row of L2 norm 1


@dataclass(frozen=True)
class ProcessOptions:
    """How a file is processed.

    Attributes:
        preprocess: a picture to the pixels of the model, uint8 (H, W, 3).
        videos: decodes videos in worker processes.
        min_side: a JPEG may be decoded at a reduced scale with at least this many pixels a side.
        stopwatch: counts seconds by stage.
        open: opens a file by its path or address.
    """

    preprocess: Callable[[Image.Image], Pixels]
    videos: VideoDecoder
    min_side: int = 0
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    open: Callable[[str], BinaryIO] = lambda uri: source_of(uri).open(uri)


@dataclass
class _Content:
    """What a file contains: a picture (its pixels for the model), a film that is not opened yet, or both."""

    sha256: str
    metadata: dict[str, Any] = field(default_factory=dict)
    thumbnails: Thumbnails = field(default_factory=dict)
    pixels: Pixels | None = None
    film: AbstractContextManager[Video] | None = None


def process(task: Task, options: ProcessOptions) -> Steps:
    """Read and decode one file. Any fault of the file becomes a `Failure`."""
    try:
        content = _read(task, options)
        segments: tuple[Segment, ...] = ()
        if content.pixels is not None:
            (vector,) = yield Step(content.pixels[None])
            segments += picture_segments(vector)
        if content.film is not None:
            segments += yield from _embed_film(content, options)
        return FileRows(_columns(task, content), segments, content.thumbnails)
    except MediaError as error:
        return task.failure(error.stage, error.reason)
    except OSError as error:
        return task.failure("read", error.strerror or str(error))


def _read(task: Task, options: ProcessOptions) -> _Content:
    """Read a file once, find out what it is, and decode its picture."""
    uri = task.file.uri
    source = source_of(uri)
    with options.open(uri) as file, ExitStack() as opened:
        with options.stopwatch.measure("read"):
            known = true_format(uri, file.read(HEAD_BYTES))
            is_film = known is not None and known.kind == "video"
            stream = file if is_film else opened.enter_context(_near(file, is_elsewhere=is_address(uri)))
            content = _Content(source.sha256(uri, stream), {"format": known.name} if known else {})
        with options.stopwatch.measure("decode"):
            if is_film:
                content.film = options.videos.open(uri)
            elif animation := read_animation(stream):
                content.film = nullcontext(animation)
            else:
                _add_picture(content, stream, task, options)
    return content


@contextmanager
def _near(file: BinaryIO, *, is_elsewhere: bool) -> Iterator[BinaryIO]:
    """The bytes of a picture in memory; on this machine's disk if they are many: a fault of the network is no fault of the picture."""
    is_large = file.seek(0, io.SEEK_END) > _BYTES_AT_ONCE
    file.seek(0)
    if not is_large:
        yield io.BytesIO(file.read())
    elif not is_elsewhere:
        yield file
    else:
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
            copy.seek(0)
            yield copy


def _add_picture(content: _Content, stream: BinaryIO, task: Task, options: ProcessOptions) -> None:
    """Decode the picture, and find the film behind it if there is one."""
    picture = read_picture(stream, min_side=options.min_side, name=task.file.uri)
    content.pixels = options.preprocess(picture.image)
    small = shrink(picture.image)
    content.thumbnails[None] = encode_thumbnail(small)
    content.metadata |= {**picture.metadata, "format": picture.format, "damaged": picture.damaged or None}
    content.metadata["perceptual_hash"] = perceptual_hash(small)
    if may_hold_film(picture.format) and (place := find_film(stream)):
        content.film = options.videos.open(task.file.uri, start=place[0], length=place[1])


def _embed_film(content: _Content, options: ProcessOptions) -> Generator[Step, Vectors, tuple[Segment, ...]]:
    """Embed the frames of a film. If that of a motion photo cannot be read, its picture remains."""
    assert content.film is not None
    try:
        with content.film as video:
            segments, thumbnails = yield from _segments_of_film(video, options)
    except MediaError as error:
        if content.pixels is None or error.stage == "read":
            raise
        content.metadata["damaged"] = True
        return ()
    content.thumbnails |= thumbnails
    content.metadata = {**video.metadata, **content.metadata} if content.pixels is None else content.metadata
    content.metadata["duration_seconds"] = video.metadata["duration_seconds"]
    return segments


def _segments_of_film(video: Video, options: ProcessOptions) -> Generator[Step, Vectors, tuple[tuple[Segment, ...], Thumbnails]]:
    """The clip and the shots of a film, with a thumbnail of each."""
    times: list[float] = []
    thumbnails: Thumbnails = {}
    vectors: list[Vectors] = []
    waiting: list[Pixels] = []
    frames = iter(video.frames)
    while True:
        with options.stopwatch.measure("decode"):
            if (frame := next(frames, None)) is not None:
                image = Image.fromarray(frame.pixels)
                times.append(frame.pts_seconds)
                thumbnails[frame.pts_seconds] = make_thumbnail(image)
                waiting.append(options.preprocess(image))
        if waiting and (frame is None or len(waiting) == _FRAMES_AT_ONCE):
            vectors.append((yield Step(np.stack(waiting), _share(times[-1], video.metadata["duration_seconds"]))))
            waiting = []
        if frame is None:
            break
    segments = video_segments(np.concatenate(vectors), times, video.metadata["duration_seconds"], video.cuts)
    return segments, {segment.frame_seconds: thumbnails[segment.frame_seconds] for segment in segments}


def _share(seconds: float, duration_seconds: float) -> float:
    """The part of a film before a time. Headers of films may say too little."""
    return min(max(seconds / duration_seconds, 0.0), 1.0) if duration_seconds > 0 else 0.0


def _columns(task: Task, content: _Content) -> FileColumns:
    file = task.file
    sidecars = {}
    for uri in file.sidecars:
        with suppress(OSError):  # it is gone, or cannot be read
            sidecars[uri] = source_of(uri).read(uri)
    metadata = file_metadata(content.metadata, name=name_of(file.uri), mtime=file.mtime, sidecars=sidecars)
    known: dict[str, Any] = {
        "media_id": task.media_id,
        "root_id": task.root_id,
        "path": task.path,
        "size_bytes": file.size_bytes,
        "mtime": file.mtime,
        "revision": file.revision or None,
        "sha256": content.sha256,
        "indexed_at": datetime.now(UTC),
    }
    return FileColumns(**{**columns_from_metadata(metadata), **known})
