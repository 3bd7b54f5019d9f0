"""Tasks to frames: files are read, decoded and brought to the model's size ahead of the embedder, in the order of the plan.

Pictures decode in threads (Pillow leaves the interpreter free meanwhile), videos in the worker process; what comes out is
one stream of items in which a file's frames stand together and end with `FileDone` or `FileFailed`.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coca_model import Encoder
from indexer.plan import Task
from media.errors import MediaError
from media.hashing import sha256_of_bytes, sha256_of_file
from media.metadata import Metadata
from media.picture import read_picture
from media.thumbnails import make_thumbnail
from media.video.decoder import VideoDecoder

_AHEAD = 128  # decoded items that wait for the embedder


@dataclass(frozen=True)
class Frame:
    """One picture, or one sampled frame of a video, ready to embed: pixels uint8 (H, W, 3); `small` its thumbnail, WebP."""

    task: Task
    pixels: NDArray[np.uint8]
    small: bytes
    pts_seconds: float | None = None


@dataclass(frozen=True)
class FileDone:
    """All frames of the file were given."""

    task: Task
    metadata: Metadata
    sha256: str


@dataclass(frozen=True)
class FileFailed:
    """The file cannot be indexed; frames of it given before do not count."""

    task: Task
    stage: str
    reason: str


Item = Frame | FileDone | FileFailed


class Clock:
    """Seconds spent by stage, summed over threads."""

    def __init__(self) -> None:
        self.seconds = {"read": 0.0, "decode": 0.0, "embed": 0.0, "write": 0.0}
        self._lock = threading.Lock()

    def add(self, stage: str, since: float) -> float:
        """Count the time since `since` for `stage`; returns now."""
        now = time.monotonic()
        with self._lock:
            self.seconds[stage] += now - since
        return now


def decode(tasks: Sequence[Task], encoder: Encoder, clock: Clock, *, workers: int, video_limit_seconds: float) -> Iterator[Item]:
    """The items of all tasks, in order, decoded ahead in the background."""
    ahead: queue.Queue[Item | BaseException | None] = queue.Queue(_AHEAD)
    stop = threading.Event()

    def put(item: Item | BaseException | None) -> None:
        while not stop.is_set():
            try:
                ahead.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def run() -> None:
        try:
            _decode_in_order(tasks, encoder, clock, put, stop, workers, video_limit_seconds)
            put(None)
        except BaseException as error:  # handed to the caller, who raises it
            put(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while (item := ahead.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()


def _decode_in_order(
    tasks: Sequence[Task],
    encoder: Encoder,
    clock: Clock,
    put: Callable[[Item], None],
    stop: threading.Event,
    workers: int,
    video_limit_seconds: float,
) -> None:
    videos = VideoDecoder(limit_seconds=video_limit_seconds)
    pending: deque[tuple[Task, Future[list[Item]] | None]] = deque()
    remaining = iter(tasks)
    pool = ThreadPoolExecutor(workers)
    try:
        while not stop.is_set():
            while len(pending) < 4 * workers and (task := next(remaining, None)) is not None:
                picture = pool.submit(decode_picture, task, encoder, clock) if task.file.type == "image" else None
                pending.append((task, picture))
            if not pending:
                return
            task, picture = pending.popleft()
            for item in picture.result() if picture else decode_video(task, encoder, clock, videos):
                put(item)
    finally:
        pool.shutdown(cancel_futures=True)
        videos.close()


def decode_picture(task: Task, encoder: Encoder, clock: Clock) -> list[Item]:
    """The frame of a picture, and that it is done; or that it failed."""
    since = time.monotonic()
    try:
        data = Path(task.file.uri).read_bytes()
        sha256 = sha256_of_bytes(data)
        since = clock.add("read", since)
        picture = read_picture(data, min_side=encoder.min_side)
        frame = Frame(task, encoder.preprocess(picture.image), make_thumbnail(picture.image))
        return [frame, FileDone(task, picture.metadata, sha256)]
    except MediaError as error:
        return [FileFailed(task, error.stage, error.reason)]
    except OSError as error:
        return [FileFailed(task, "read", error.strerror or str(error))]
    finally:
        clock.add("decode", since)


def decode_video(task: Task, encoder: Encoder, clock: Clock, videos: VideoDecoder) -> Iterator[Item]:
    """The sampled frames of a video, and that it is done; or that it failed."""
    since = time.monotonic()
    try:
        sha256 = sha256_of_file(task.file.uri)
        since = clock.add("read", since)
        with videos.open(task.file.uri) as video:
            for shown in video.frames:
                picture = Image.fromarray(shown.pixels)
                frame = Frame(task, encoder.preprocess(picture), make_thumbnail(picture), shown.pts_seconds)
                clock.add("decode", since)
                yield frame
                since = time.monotonic()
        yield FileDone(task, video.metadata, sha256)
    except MediaError as error:
        yield FileFailed(task, error.stage, error.reason)
    except OSError as error:
        yield FileFailed(task, "read", error.strerror or str(error))
    finally:
        clock.add("decode", since)
