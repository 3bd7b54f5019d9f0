"""What the video worker and its parent send each other over a multiprocessing connection."""

from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from media.errors import Stage

Backend = Literal["decord", "pyav"]


@dataclass(frozen=True)
class Request:
    """Decode `path` from sample number `skip` on."""

    path: str
    backend: Backend
    skip: int
    seconds_between: float


@dataclass(frozen=True)
class VideoFrame:
    """One frame of a video, upright: `pixels` are uint8 (H, W, 3), RGB, shown from `pts_seconds` on."""

    pts_seconds: float
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class End:
    """The last reply to a request. `reason` says why the video could not be decoded to its end, and is empty if it could."""

    stage: Stage = "decode"
    reason: str = ""


Reply = dict[str, Any] | VideoFrame | End  # metadata first, then frames, then the end


def send(connection: "Connection[Any, Any]", message: Request | Reply) -> None:
    """Send a message. The pixels of a frame go over as they lie in memory, without pickling."""
    if isinstance(message, VideoFrame):
        connection.send((message.pts_seconds, message.pixels.shape))
        connection.send_bytes(np.ascontiguousarray(message.pixels).data.cast("B"))
    else:
        connection.send(message)


def receive(connection: "Connection[Any, Any]") -> Any:
    """The next message. Raises EOFError or OSError if the other side is gone."""
    message = connection.recv()
    if not isinstance(message, tuple):
        return message
    pts_seconds, shape = message
    pixels = np.empty(shape, np.uint8)
    connection.recv_bytes_into(pixels.data.cast("B"))
    return VideoFrame(pts_seconds, pixels)
