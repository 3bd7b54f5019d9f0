"""Reads a film once, from start to end: its metadata, sampled frames with the times that a player shows, and the cuts between its shots.

decord is not used. Its times were wrong in MPEG-TS, MPEG-PS, WMV, AVI and trimmed MP4, it finds no cuts, and it is no faster for H.264 and
HEVC. It is for VP9 and MPEG-4: a film took 3.03 s of CPU here and 2.37 s with decord, another one 0.73 s and 0.45 s.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO

from media.errors import MediaError
from media.metadata import video_metadata
from media.video.messages import End, Request, VideoFrame
from media.video.pixels.small_pictures import shown_size
from media.video.reading.opened import opened, read_by_us, video_stream
from media.video.reading.packets import Packets
from media.video.reading.timeline import Timeline
from media.video.sampler import Sampler
from media.video.sampling import plan_of

_SMALL_BYTES = 32 << 20
_DURATION_TOLERANCE = 1.0, 0.05  # seconds, or a part of the length, by which a header may say more than the packets
_ROUNDING_SECONDS = 0.05  # by which a header may say less

Reply = dict[str, Any] | VideoFrame | End


def read_film(request: Request) -> Iterator[Reply]:
    """The metadata once, then the sampled frames, at last an `End`. Raises MediaError."""
    with read_by_us(request.uri) as file, opened(request.uri, start=request.start, length=request.length, file=file) as container:
        stream = video_stream(container)
        header = float(container.duration) / 1e6 if container.duration and container.duration > 0 else None
        expected = _measured(request, file) if header is None or 0 < container.size <= _SMALL_BYTES else header
        packets = Packets(container, stream)
        sampler = Sampler(packets, plan_of(expected, request.seconds_between))
        metadata: dict[str, Any] = {}
        for seconds, frame in sampler.samples():
            if not metadata:
                width, height = shown_size(frame, stream)
                tags = {**stream.metadata, **container.metadata}
                metadata = video_metadata(tags, width=width, height=height, duration_seconds=expected)
                yield metadata
            yield VideoFrame(seconds, sampler.pictures.picture(frame))
        if not metadata:
            raise MediaError("decode", "no frame of the video can be decoded. It may be damaged or encrypted.")
        measured = packets.timeline.end_seconds
        duration, is_cut = _duration(header, measured), _is_cut(packets.timeline, header)
        more: dict[str, Any] = {"damaged": True} if packets.damaged or is_cut else {}
        if packets.telemetry:
            more |= video_metadata({**tags, **packets.telemetry}, width=width, height=height, duration_seconds=duration)
        yield End({**more, "duration_seconds": duration}, tuple(sampler.cuts.finish()))


def _measured(request: Request, file: BinaryIO | None) -> float:
    """The length of a film by its packets, without decoding. An open file keeps what was read, so it is not downloaded again."""
    with opened(request.uri, start=request.start, length=request.length, file=file) as container:
        stream = video_stream(container)
        packets = Packets(container, stream)
        count = sum(1 for _ in packets)
        return packets.timeline.end_seconds or count / packets.timeline.rate


def _duration(header: float | None, measured: float) -> float:
    """What the header says, as players show it, unless the packets prove it wrong."""
    if header is not None and header >= measured - _ROUNDING_SECONDS and not _is_less(measured, header):
        return header
    return measured


def _is_less(measured: float, header: float | None) -> bool:
    seconds, part = _DURATION_TOLERANCE
    return header is not None and header - measured > max(seconds, part * measured)


def _is_cut(timeline: Timeline, header: float | None) -> bool:
    """Whether the end of the file is missing: its packets end long before the header says. Matroska counts from the first stamp."""
    states_length = timeline.exact and not timeline.may_jump  # others are guesses of FFmpeg
    return states_length and _is_less(timeline.end_seconds + max(timeline.origin or 0.0, 0.0), header)
