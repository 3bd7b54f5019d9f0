"""One frame of a video, without a worker process."""

import os
from collections.abc import Iterator
from itertools import chain
from typing import Any

from PIL import Image

from media.errors import MediaError
from media.video.pixels.small_pictures import SmallPictures
from media.video.reading.frames import FrameDecoder
from media.video.reading.opened import READ_ERRORS, opened, video_stream
from media.video.reading.packets import Packets

_ROUNDING_SECONDS = 1e-3
_SEEK_BEFORE_SECONDS = 20.0
_MAX_BYTES = 64 << 20


def frame_at(path: str | os.PathLike[str], seconds: float | None = None, *, start: int = 0, length: int | None = None) -> Image.Image:
    """The frame that a player shows at a time, by default in the middle: RGB, upright, short side at most 256 pixels. Raises MediaError.

    `start` and `length` choose the bytes of the film, if it is a part of the file.
    """
    for seek in (True, False):
        with opened(os.fspath(path), start=start, length=length) as container:
            packets = Packets(container, video_stream(container))
            wanted = float(container.duration or 0) / 2e6 if seconds is None else seconds
            if seek and not _seek(packets, wanted - _SEEK_BEFORE_SECONDS):
                continue
            frame = _shown(packets, wanted, or_first=not seek)
            if frame is not None:
                return Image.fromarray(SmallPictures(packets.stream).picture(frame))
    raise MediaError("decode", f"no frame at {wanted:g} seconds")


def _seek(packets: Packets, seconds: float) -> bool:
    """Go to a time or somewhat before. False if seeking is inexact in this container, or if it is not worth it."""
    timeline = packets.timeline
    if seconds <= 0 or not timeline.exact or timeline.may_jump:
        return False
    try:
        packets.container.seek(timeline.stamp(seconds), stream=packets.stream)
    except READ_ERRORS:
        return False
    return True


def _shown(packets: Packets, wanted: float, *, or_first: bool) -> Any:
    """The frame that is shown at a time; None if the first frame comes later, unless that is good enough."""
    timeline, decoder = packets.timeline, FrameDecoder(packets, every_frame=True)
    needed = _from_key_frame(packets, wanted) if timeline.exact else iter(packets)
    shown = None
    for seconds, frame in timeline.timed(chain(decoder.decode(needed), decoder.finish())):
        if seconds > wanted + _ROUNDING_SECONDS:
            return shown or (frame if or_first else None)
        shown = frame
    return shown


def _from_key_frame(packets: Packets, wanted: float) -> Iterator[Any]:
    """The packets from the last but one key frame before a time on. (Frames after the last one may refer to what is before it.)"""
    groups: list[list[Any]] = [[]]
    held = iter(packets)
    num_bytes = 0
    for packet in held:
        seconds = packets.timeline.seconds(packet)
        if packet.is_keyframe and seconds is not None and seconds <= wanted:
            groups = [groups[-1], []]
            num_bytes = sum(each.size for each in groups[0])
        groups[-1].append(packet)
        num_bytes += packet.size
        if num_bytes > _MAX_BYTES or (packet.is_keyframe and seconds is not None and seconds > wanted):
            break
    yield from chain(*groups)
    yield from held
