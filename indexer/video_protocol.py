"""What the video worker and its parent say to each other: pickled values over pipes, each with its length before it."""

import pickle
from dataclasses import dataclass
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from indexer.pyav_reader import VideoFacts

Backend = Literal["decord", "pyav"]


@dataclass(frozen=True)
class Request:
    """Decode `path` from sample number `skip` on."""

    path: str
    backend: Backend
    skip: int
    seconds_between: float


@dataclass(frozen=True)
class Facts:
    """The first reply: what the video is."""

    facts: VideoFacts


@dataclass(frozen=True)
class FrameReply:
    """One sampled frame, upright: uint8 (H, W, 3), RGB, shown from `pts_seconds` on."""

    pts_seconds: float
    frame: NDArray[np.uint8]


@dataclass(frozen=True)
class End:
    """The last reply; `reason` says why where the video could not be decoded to its end."""

    stage: str = ""
    reason: str = ""


Reply = Facts | FrameReply | End


def send(stream: IO[bytes], value: object) -> None:
    """One pickled value with its length before it."""
    data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(len(data).to_bytes(8, "big") + data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """The next value. Raises EOFError where the other side is gone."""
    head = stream.read(8)
    data = stream.read(int.from_bytes(head, "big")) if len(head) == 8 else b""
    if not data:
        raise EOFError
    return pickle.loads(data)
