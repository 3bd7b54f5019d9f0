"""Old names, for `evaluation` only: use `media.video` instead."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Facts:
    facts: SimpleNamespace


@dataclass(frozen=True)
class FrameReply:
    pts_seconds: float
    frame: NDArray[np.uint8]
