"""Reads the packets of a film, and goes on after damage."""

from collections.abc import Iterator
from typing import Any

from media.video.reading.opened import READ_ERRORS
from media.video.reading.timeline import Timeline

_MOST_ERRORS = 100  # in a row


class Packets:
    """The packets of the video stream of an opened film, placed on its timeline. The sound is only measured.

    Attributes:
        damaged: whether a part could not be read. Decoders set it, too.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self.container, self.stream = container, stream
        self.timeline = Timeline(container, stream)
        self.damaged = False

    def __iter__(self) -> Iterator[Any]:
        streams = [self.stream, *self.container.streams.audio]
        errors = 0
        while errors < _MOST_ERRORS:
            try:
                for packet in self.container.demux(streams):
                    errors = 0
                    if not packet.size:  # the end of a stream, or a frame that repeats the last one
                        continue
                    self.timeline.place(packet)
                    if packet.stream_index == self.stream.index:
                        yield packet
                return
            except READ_ERRORS:
                errors += 1
                self.damaged = True
