"""Reads the packets of a film, and goes on after damage."""

from collections.abc import Iterator
from typing import Any

from media.video.reading.gpmf import is_telemetry, telemetry_tags
from media.video.reading.opened import READ_ERRORS
from media.video.reading.timeline import JUMP_SECONDS, Timeline

_MOST_ERRORS = 100  # in a row


class Packets:
    """The packets of the video stream of an opened film, placed on its timeline. The sound is only measured.

    Attributes:
        damaged: whether a part could not be read. Decoders set it, too.
        telemetry: tags of the first position that a GoPro recorded.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self.container, self.stream = container, stream
        self.timeline = Timeline(container, stream)
        self.damaged = False
        self.telemetry: dict[str, str] = {}

    def __iter__(self) -> Iterator[Any]:
        for packet in self._without_leaps():
            self.timeline.place(packet)
            if packet.stream_index == self.stream.index:
                self.damaged |= packet.is_corrupt and not self.timeline.may_jump  # broadcasts joined from parts lose some at each joint
                yield packet

    def _without_leaps(self) -> Iterator[Any]:
        """A stamp that is far ahead of those before and after it is damaged. It becomes the one before."""
        last: dict[int, float] = {}  # seconds of the newest packet of each stream
        held: dict[int, Any] = {}
        for packet in self._read():
            if packet.dts is None:
                yield packet
                continue
            index, base = packet.stream_index, float(packet.time_base)
            if (leaping := held.pop(index, None)) is not None:
                if (packet.dts - leaping.dts) * base < -JUMP_SECONDS:
                    leaping.dts = leaping.pts = round(last[index] / base) + 1
                    self.damaged = True
                yield leaping
            elif packet.dts * base - last.setdefault(index, self.timeline.origin or 0.0) > JUMP_SECONDS:
                held[index] = packet
                continue
            last[index] = packet.dts * base
            yield packet
        yield from held.values()

    def _read(self) -> Iterator[Any]:
        telemetry = {stream.index: stream for stream in self.container.streams if is_telemetry(stream)}
        streams = [self.stream, *self.container.streams.audio, *telemetry.values()]
        errors = 0
        while errors < _MOST_ERRORS:
            try:
                for packet in self.container.demux(streams):
                    errors = 0
                    if packet.stream_index in telemetry:
                        self.telemetry = self.telemetry or telemetry_tags(bytes(packet))
                    elif packet.size:  # otherwise it is the end of a stream, or repeats the last frame
                        yield packet
                return
            except READ_ERRORS:
                errors += 1
                self.damaged = True
