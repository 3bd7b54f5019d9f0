"""Messages to and from the video worker: a request; then the metadata, the frames, and at the end None or a MediaError."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

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
