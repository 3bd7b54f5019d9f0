"""Decodes packets to frames, and goes on after damage."""

from collections.abc import Iterable, Iterator
from typing import Any

import av

from media.video.reading.opened import READ_ERRORS
from media.video.reading.packets import Packets

_CLOSE_SECONDS = 0.07
_MOST_THREADS = 4
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


class FrameDecoder:
    """The decoder of one film. Frames come in the order of presentation. `every_frame`: decode also those to which none refers."""

    def __init__(self, packets: Packets, *, every_frame: bool = False) -> None:
        self._packets = packets
        self._codec = _codec_of(packets.stream)
        self._codec.thread_count = _MOST_THREADS
        self._codec.thread_type = "AUTO"
        self._every_frame = every_frame or not packets.timeline.exact
        self._last_stamp: int | None = None
        self._earliest: float | None = None
        self._began = False

    def decode(self, packets: Iterable[Any]) -> Iterator[Any]:
        """The frames that are ready. Packets must follow those that were given last, or a `finish`."""
        for packet in packets:
            if self._earliest is None:
                self._earliest = self._packets.timeline.seconds(packet)
            self._began |= packet.is_keyframe
            self._codec.skip_frame = "NONREF" if self._is_close(packet) and not self._every_frame else "DEFAULT"
            yield from self._tried(packet)

    def _is_close(self, packet: Any) -> bool:
        """Whether a packet follows the last one so closely that its frame tells little.

        Then it is not decoded if no other frame refers to it, which saves up to half of the time.
        """
        last, self._last_stamp = self._last_stamp, packet.dts
        return last is not None and packet.dts is not None and (packet.dts - last) * float(packet.time_base) < _CLOSE_SECONDS

    def finish(self) -> Iterator[Any]:
        """The frames that the decoder still holds. Afterwards it is ready for any key frame."""
        yield from self._tried(None)
        self._codec.flush_buffers()
        self._earliest = None

    def _tried(self, packet: Any) -> Iterator[Any]:
        try:
            frames = self._codec.decode(packet)
        except READ_ERRORS:
            self._packets.damaged |= self._began or not self._packets.timeline.may_jump  # a broadcast may begin between key frames
            return
        timeline = self._packets.timeline
        for frame in frames:
            seconds = timeline.seconds(frame)
            # frames before the first key frame refer to others that were not decoded
            if not timeline.exact or seconds is None or self._earliest is None or seconds >= self._earliest - 1e-6:
                self._packets.damaged |= self._began and frame.is_corrupt
                yield frame


def _codec_of(stream: Any) -> Any:
    """The decoder of a stream. For VP8 and VP9 with transparency it is libvpx, because FFmpeg's own decoders leave that out."""
    name = _WITH_ALPHA.get(stream.codec_context.name, "") if stream.metadata.get("alpha_mode") == "1" else ""
    return av.CodecContext.create(name, "r") if name in av.codecs_available else stream.codec_context
