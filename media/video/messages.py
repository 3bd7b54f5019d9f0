"""Messages to and from the video worker: a request; then the metadata, the frames, and an `End` or a MediaError."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Request:
    """Decode a film: the bytes `[start, start + length)` of a path or address, by default all of them. `seconds_between`: see `plan_of`."""

    uri: str
    start: int = 0
    length: int | None = None
    seconds_between: float | None = None


@dataclass(frozen=True)
class VideoFrame:
    """One frame of a video, upright: `pixels` are uint8 (H, W, 3), RGB, shown from `pts_seconds` on, on the clock of a player."""

    pts_seconds: float
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class End:
    """What is known of a film once all of it was read: metadata that replace the first ones, and the seconds where a new shot starts."""

    metadata: dict[str, Any] = field(default_factory=dict)
    cuts: tuple[float, ...] = ()
