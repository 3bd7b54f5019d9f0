"""Pictures and videos of a data set to pixels. Pictures are decoded in threads, videos in a worker process."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coca_model import Encoder
from evaluation.datasets.dataset import Medium
from media import MediaError, VideoDecoder, open_picture
from media.video.frame_at import frame_at

_VIDEO_LIMIT_SECONDS = 60.0


@dataclass(frozen=True)
class Decoded:
    """A medium as pixels: uint8 (n, H, W, 3), n = 1 for a picture, with the time of each frame and the length in seconds."""

    pixels: NDArray[np.uint8]
    seconds: NDArray[np.float64]
    duration_seconds: float


def decode(media: Sequence[Medium], encoder: Encoder, pool: Executor, *, seconds_between: float) -> Iterator[Decoded | str]:
    """Each medium in order, as the encoder's pixels or as the reason why it cannot be read. Pictures are decoded a few ahead."""
    pending: deque[tuple[Medium, Future[Decoded | str] | None]] = deque()
    rest = iter(media)
    with VideoDecoder(limit_seconds=_VIDEO_LIMIT_SECONDS, seconds_between=seconds_between) as videos:
        for _ in media:
            for medium in islice(rest, 4 * encoder.batch_size - len(pending)):
                pending.append((medium, pool.submit(_picture, medium, encoder) if medium.kind == "image" else None))
            medium, picture = pending.popleft()
            yield picture.result() if picture else _video(medium, encoder, videos)


def frame_to_show(medium: Medium) -> Image.Image:
    """The picture, or the frame of a video at `medium.seconds`. Raises MediaError or OSError."""
    if medium.kind == "image":
        return open_picture(medium.read(), min_side=256)
    return frame_at(medium.path, medium.seconds)


def _picture(medium: Medium, encoder: Encoder) -> Decoded | str:
    try:
        picture = open_picture(medium.read(), min_side=encoder.min_side)
        return Decoded(encoder.preprocess(picture)[None], np.zeros(1), 0.0)
    except MediaError as error:
        return error.reason
    except OSError as error:
        return error.strerror or str(error)


def _video(medium: Medium, encoder: Encoder, videos: VideoDecoder) -> Decoded | str:
    frames, seconds = [], []
    try:
        with videos.open(medium.path) as video:
            for frame in video.frames:
                frames.append(encoder.preprocess(Image.fromarray(frame.pixels)))
                seconds.append(frame.pts_seconds)
    except MediaError as error:
        return error.reason
    return Decoded(np.stack(frames), np.asarray(seconds, np.float64), video.metadata["duration_seconds"])
