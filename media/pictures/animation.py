"""Animated pictures as films: GIF, WebP, AVIF and APNG. Pillow composes their frames as browsers do.

They are decoded twice: once for the times of the frames, once for the frames that are sampled. So memory does not grow with their number.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, count
from typing import BinaryIO

import numpy as np
from PIL import Image

from media.errors import PictureError
from media.formats import HEAD_BYTES, sniff
from media.metadata import orientation_of, picture_metadata
from media.pictures.colour import to_srgb
from media.pictures.header import read_header
from media.pictures.limits import MAX_PIXELS
from media.pictures.partial import DAMAGE, LostError, whole
from media.pictures.turn import is_sideways, turned
from media.video.decoder import Video
from media.video.messages import VideoFrame
from media.video.sampling import CLIP_FRAMES, SECONDS_BETWEEN_FRAMES

_SHORT_SIDE = 256  # pixels; enough for the model and a thumbnail
_TOO_SHORT_MS, _DEFAULT_MS = 10, 100  # browsers show a frame of 10 ms or less for 100 ms
_DAMAGE = (*DAMAGE, LostError, PictureError, Image.DecompressionBombError, Warning)
_MOST_PIXELS = 40e9  # that are decoded; later frames are left out. 10,000 frames of 1920 x 1080 are half of it


@dataclass(frozen=True)
class _Timeline:
    """The frames of an animation: their numbers in Pillow, from `first` on, and when each starts and the last one ends, in seconds."""

    first: int
    starts: tuple[float, ...]
    end: float
    is_complete: bool


def read_animation(stream: BinaryIO) -> Video | None:
    """The frames of an animated picture, about one a second, at least 16, each once.

    None if it does not move, or if less than two frames can be decoded. Then `read_picture` shows the first one, or says what is wrong.
    """
    try:
        if not _may_move(stream):
            return None
        stream, is_cut = whole(stream)
        opened, _ = read_header(stream)
        picture = opened.picture
        if getattr(picture, "n_frames", 1) < 2 or math.prod(picture.size) > MAX_PIXELS:
            return None
        timeline = _timeline(picture)
        opened, _ = read_header(stream)  # again from the first frame on
        picture = opened.picture
        picture.load()
        orientation = opened.orientation or orientation_of(picture)
        metadata = picture_metadata(picture, opened.size)
    except _DAMAGE:
        return None
    if len(timeline.starts) < 2:
        return None
    width, height = reversed(opened.size) if is_sideways(orientation) else opened.size
    metadata |= {"width": width, "height": height, "duration_seconds": timeline.end}
    metadata |= {} if timeline.is_complete and not is_cut else {"damaged": True}
    return Video(metadata, _visible(_frames(picture, timeline, orientation)))


def _may_move(stream: BinaryIO) -> bool:
    """Whether the first bytes leave it open that there are several frames. WebP and AVIF say it there."""
    stream.seek(0)
    head = stream.read(HEAD_BYTES)
    known = sniff(head)
    if known is None or not known.animated:
        return False
    if known.name == "WebP":
        return head[12:16] == b"VP8X" and bool(head[20] & 2)
    return known.name != "AVIF" or b"avis" in head[:64]


def _timeline(picture: Image.Image) -> _Timeline:
    first = int(bool(getattr(picture, "default_image", False)))  # an APNG may begin with a picture for programs that do not animate
    lengths: list[float] = []  # in milliseconds
    is_complete = False
    with suppress(*_DAMAGE):
        for number in count(first):
            try:
                picture.seek(number)
            except EOFError:
                is_complete = True
                break
            if math.prod(picture.size) > MAX_PIXELS or len(lengths) * math.prod(picture.size) > _MOST_PIXELS:
                break
            picture.load()
            stated = picture.info.get("duration", 0)
            lengths.append(stated if stated > _TOO_SHORT_MS else _DEFAULT_MS)
    starts = tuple(start / 1000 for start in accumulate(lengths, initial=0))
    return _Timeline(first, starts[:-1], starts[-1], is_complete)


def _frames(picture: Image.Image, timeline: _Timeline, orientation: int) -> Iterator[VideoFrame]:
    parts = max(CLIP_FRAMES, math.ceil(timeline.end / SECONDS_BETWEEN_FRAMES))
    times = [(part + 0.5) * timeline.end / parts for part in range(parts)]
    sampled = dict.fromkeys(bisect_right(timeline.starts, time) - 1 for time in times)
    for frame in range(len(timeline.starts)) if len(timeline.starts) <= CLIP_FRAMES else sampled:
        picture.seek(timeline.first + frame)
        picture.load()
        yield VideoFrame(timeline.starts[frame], np.asarray(turned(_small(to_srgb(picture)), orientation)))


def _visible(frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    """The frames without the ones at the start that have a single colour, unless all do."""
    blank = None
    for frame in frames:
        if (frame.pixels == frame.pixels[0, 0]).all():
            blank = blank or frame
            continue
        yield frame
        blank = None
        yield from frames
    if blank:
        yield blank


def _small(picture: Image.Image) -> Image.Image:
    scale = min(1.0, _SHORT_SIDE / min(picture.size))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=1.5) if scale < 1 else picture
