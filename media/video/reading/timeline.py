"""The clock of a player: converts the time stamps of a film to seconds since the moment that a player calls 0.

Rule:
1. 0 is the earliest presented sample of the whole file, picture or sound, after edit lists: what FFmpeg calls the start time. mpv and VLC
   show it as 0, although the stamps of a camcorder or a TV recording begin at some hour of the day. (Chromium agrees in files that begin
   at 0. In MP4 and WebM files that begin later, it shows the first frame until then.) A picture that starts two seconds after its sound is
   shown at 2.
2. Samples before the first presented one do not move 0: frames that an edit list hides are never shown, and the start-up samples of a
   sound codec, which have negative stamps, are not heard.
3. Where stamps jump (a broadcast joined from parts, an overflow of the counter), the film continues where it was, as when FFmpeg
   converts it.
4. Files without stamps (raw H.264) are counted at their frame rate. AVI stores the order of decoding, from which FFmpeg guesses stamps.
   There the first frame is 0. The guesses for H.264 are mixed up, so they are sorted: frames come in the order of presentation.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

_AVFMT_TS_DISCONT = 0x200
JUMP_SECONDS = 10.0  # as FFmpeg's dts_delta_threshold
_BACK_SECONDS = 1.0  # stamps of decoding never go back
_REORDERED = 16  # frames; H.264 and HEVC allow no more
_REORDERING = {"h264", "hevc"}
_USUAL_RATE, _RATES = 25.0, (0.01, 1000.0)


@dataclass
class _Clock:
    """The stamps of decoding of one stream. They become continuous when `offset` is added."""

    last: float = 0.0  # seconds of the newest packet, with the offset
    step: float = 0.0  # its length; 0 if there is none yet
    offset: float = 0.0
    gap: float = 0.0  # the largest between two packets


class Timeline:
    """The times of one opened film. Give it every packet before its frames.

    Attributes:
        end_seconds: the end of the last packet seen, of any stream.
        origin: the seconds of the file that a player calls 0; None until they are known.
        rate: frames a second, as a guess.
        may_jump: whether stamps of this container may jump. Seeking is inexact then.
        exact: whether the file has stamps of presentation. Otherwise every frame must be decoded to know its time.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self.end_seconds = 0.0
        self._stream = stream
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        self.rate = rate if _RATES[0] <= rate <= _RATES[1] else _USUAL_RATE
        self.may_jump = bool(container.format.flags & _AVFMT_TS_DISCONT)
        in_avi = container.format.name == "avi"
        self.exact = container.start_time is not None and not (in_avi and stream.codec_context.name in _REORDERING)
        self.origin = _start(container, stream) if self.exact and not in_avi else None
        self._longest = max(JUMP_SECONDS, float(container.duration or 0) / 1e6)  # a longer packet is damaged
        self._clocks: dict[int, _Clock] = {}

    def place(self, packet: Any) -> None:
        """Remove jumps from the stamps of a packet, and note where it ends."""
        clock = self._clocks.setdefault(packet.stream_index, _Clock())
        base = float(packet.time_base)
        length = float(packet.duration or 0) * base
        length = length if 0 < length <= self._longest else 1 / self.rate
        if packet.dts is not None:
            self._continue(clock, packet.dts * base, length)
            packet.dts += round(clock.offset / base)
        if packet.pts is not None:
            packet.pts += round(clock.offset / base)
            if packet.dts is not None and clock.gap and abs(packet.pts - packet.dts) * base > max(JUMP_SECONDS, _REORDERED * clock.gap):
                packet.pts = packet.dts  # a damaged one: frames are presented soon after they are decoded
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None:
            return
        if packet.stream_index == self._stream.index and self.origin is None:
            self.origin = stamp * base
        if not packet.is_discard and self.origin is not None:
            self.end_seconds = max(self.end_seconds, stamp * base + length - self.origin)

    def _continue(self, clock: _Clock, seconds: float, length: float) -> None:
        jump = seconds + clock.offset - clock.last if clock.step else 0.0
        clock.gap = max(clock.gap, jump)
        if jump < -_BACK_SECONDS or (self.may_jump and jump > JUMP_SECONDS):
            clock.offset -= jump - clock.step
        clock.last, clock.step = seconds + clock.offset, length

    def seconds(self, packet_or_frame: Any) -> float | None:
        """The time of a placed packet of the video stream, or of a frame decoded from such; None if the file does not say it."""
        if packet_or_frame.pts is None or self.origin is None:
            return None
        return float(packet_or_frame.pts * self._stream.time_base) - self.origin

    def stamp(self, seconds: float) -> int:
        """The time stamp of a time, in the units of the video stream."""
        return round((seconds + (self.origin or 0.0)) / float(self._stream.time_base))

    def timed(self, frames: Iterable[Any]) -> Iterator[tuple[float, Any]]:
        """Decoded frames, in the order of presentation, with their times. If the times are guesses, `frames` must be all of the film."""
        for seconds, frame in ((self.seconds(frame), frame) for frame in frames) if self.exact else self._sorted(frames):
            if seconds is not None and seconds > -1 / self.rate:  # a frame that begins less than a frame before 0 is seen at 0
                self.end_seconds = max(self.end_seconds, seconds + 1 / self.rate)
                yield max(0.0, seconds), frame

    def _sorted(self, frames: Iterable[Any]) -> Iterator[tuple[float, Any]]:
        times: list[float] = []
        waiting: list[Any] = []
        for number, frame in enumerate(frames):
            seconds = self.seconds(frame)
            heapq.heappush(times, number / self.rate if seconds is None else seconds)
            waiting.append(frame)
            if len(waiting) > _REORDERED:
                yield heapq.heappop(times), waiting.pop(0)
        for frame in waiting:
            yield heapq.heappop(times), frame


def _start(container: Any, stream: Any) -> float:
    """0 of the player in the seconds of the file, see rules 1 and 2."""
    start = float(container.start_time) / 1e6
    if start >= 0 or stream.start_time is None:
        return start
    return min(0.0, float(stream.start_time * stream.time_base))
