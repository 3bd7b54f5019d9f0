"""Pictures and videos of a data set to pixels. Pictures are decoded in threads, videos in a worker process."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coca_model import Encoder, PictureError, open_picture
from evaluation.datasets.dataset import Medium
from indexer.errors import MediaError
from indexer.pyav_reader import probe, read_frames
from indexer.video import VideoDecoder
from indexer.video_protocol import Facts

_VIDEO_LIMIT_SECONDS = 60.0


@dataclass(frozen=True)
class Decoded:
    """A medium as pixels: uint8 (n, H, W, 3), n = 1 for a picture, with the time of each frame and the length in seconds."""

    pixels: NDArray[np.uint8]
    seconds: NDArray[np.float64]
    duration_seconds: float


def decode(media: Sequence[Medium], encoder: Encoder, pool: Executor, *, seconds_between: float) -> Iterator[Decoded | str]:
    """Each medium in order, as the encoder's pixels or as the reason why it cannot be read. Pictures are decoded a few ahead."""
    videos = VideoDecoder(limit_seconds=_VIDEO_LIMIT_SECONDS, seconds_between=seconds_between)
    try:
        ahead: deque[tuple[Medium, Future[Decoded | str] | None]] = deque()
        rest = iter(media)
        for _ in media:
            for medium in islice(rest, 4 * encoder.batch_size - len(ahead)):
                ahead.append((medium, pool.submit(_picture, medium, encoder) if medium.kind == "image" else None))
            medium, picture = ahead.popleft()
            yield picture.result() if picture else _video(medium, encoder, videos)
    finally:
        videos.close()


def frame_to_show(medium: Medium) -> Image.Image:
    """The picture, or the frame of a video at `medium.seconds`. Raises PictureError, MediaError or OSError."""
    if medium.kind == "image":
        return open_picture(medium.read(), min_side=256)
    seconds = medium.seconds if medium.seconds is not None else probe(str(medium.path)).duration_seconds / 2
    for _, pixels in read_frames(str(medium.path), [seconds]):
        return Image.fromarray(pixels)
    raise MediaError("decode", f"no frame at {seconds:g} s")


def _picture(medium: Medium, encoder: Encoder) -> Decoded | str:
    try:
        picture = open_picture(medium.read(), min_side=encoder.min_side)
        return Decoded(encoder.preprocess(picture)[None], np.zeros(1), 0.0)
    except PictureError as error:
        return str(error).removeprefix("picture: ")
    except OSError as error:
        return error.strerror or str(error)


def _video(medium: Medium, encoder: Encoder, videos: VideoDecoder) -> Decoded | str:
    frames, seconds, duration = [], [], 0.0
    try:
        for reply in videos.frames(str(medium.path)):
            if isinstance(reply, Facts):
                duration = reply.facts.duration_seconds
            else:
                frames.append(encoder.preprocess(Image.fromarray(reply.frame)))
                seconds.append(reply.pts_seconds)
    except MediaError as error:
        return error.reason
    return Decoded(np.stack(frames), np.asarray(seconds, np.float64), duration)
