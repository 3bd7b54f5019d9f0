"""Groups the packets of a film into stretches, each from one key frame that is sampled to the next.

A film is read once, from its start to its end, without seeking: seeking is inexact in many containers, and indexing reads every byte
anyway. Where key frames are dense, the first packet of a stretch alone is decoded. The others are kept for a moment, in case that
the cut between two stretches must be found.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from media.video.reading.timeline import Timeline

_SOONER = 0.75  # a key frame this part of the interval after the last one is taken
_LARGE = 0.5
_MAX_BYTES = 64 << 20


@dataclass
class Stretch:
    """Packets in the order of decoding, up to the key frame at `end` seconds.

    If it is `dense`, the first packet is a key frame that stands for all of it.
    """

    dense: bool
    packets: list[Any]
    end: float = math.inf

    @property
    def has_large_packet(self) -> bool:
        """Whether a packet is nearly as large as the first key frame, as an encoder writes it after a cut."""
        first, *others = self.packets
        return not all(each.is_keyframe for each in others) and max(each.size for each in others) >= _LARGE * first.size


def stretches(packets: Iterable[Any], timeline: Timeline, *, interval: float, longest: float) -> Iterator[Stretch]:
    """Group placed packets of the video stream.

    Args:
        packets: in the order of decoding.
        timeline: their times.
        interval: wanted seconds between samples.
        longest: a stretch of more seconds is not dense: it is passed on in parts, and all of it must be decoded.
    """
    held: list[Any] = []
    first = num_bytes = 0.0
    dense = timeline.exact
    for packet in packets:
        seconds = timeline.seconds(packet)
        now = first if seconds is None else seconds
        if packet.is_keyframe and (not held or now - first >= _SOONER * interval):
            if held:
                yield Stretch(dense, held, now)
            held, num_bytes, first, dense = [], 0.0, now, timeline.exact
        held.append(packet)
        num_bytes += packet.size
        if dense and num_bytes > _MAX_BYTES and any(each.is_keyframe for each in held[1:]):
            del held[1:]  # too much to keep; the cut will be placed between the samples
            num_bytes = held[0].size
        dense = dense and now - first <= longest and num_bytes <= _MAX_BYTES and held[0].is_keyframe
        if not dense:
            yield Stretch(dense, held)
            held = []
            first = now
    if held:
        yield Stretch(dense, held)
