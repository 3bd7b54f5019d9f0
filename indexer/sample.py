"""Which rows the sampled frames of a video become.

Shots are found in the embeddings, which already know what a picture is about. A whole clip is the mean of 16 uniformly spaced
frames (CoCa paper, section 4.2, video retrieval).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from media.video.sampling import CLIP_FRAMES, SECONDS_BETWEEN_FRAMES, sample_times

__all__ = ["CLIP_FRAMES", "SECONDS_BETWEEN_FRAMES", "Shot", "clip_frames", "find_shots", "mean_vector", "sample_times"]

_CUT_DISTANCE = 0.30  # cosine distance between neighbouring frames that is always a cut
_CUT_CONTRAST = 4.0  # or this many times the usual distance in this video
_LEAST_CUT_DISTANCE = 0.12


@dataclass(frozen=True)
class Shot:
    """Frames `[first, stop)` of the sampled ones; `best` is the frame nearest to their mean."""

    first: int
    stop: int
    best: int


def clip_frames(count: int) -> NDArray[np.int64]:
    """The indices of at most 16 uniformly spaced of `count` frames, int64."""
    chosen = np.linspace(0, count - 1, min(count, CLIP_FRAMES)).round()
    return chosen.astype(np.int64)


def find_shots(vectors: NDArray[np.float32]) -> list[Shot]:
    """Cut where neighbouring frames differ far more than frames of this video do.

    Args:
        vectors: float32 (N, E), rows of L2 norm 1, N >= 1, in the order of time.
    """
    distance = 1 - (vectors[:-1] * vectors[1:]).sum(1)  # (N-1,)
    usual = float(np.median(distance)) if len(distance) else 0.0
    limit = min(_CUT_DISTANCE, max(_LEAST_CUT_DISTANCE, _CUT_CONTRAST * usual))
    cuts = [0, *(np.flatnonzero(distance > limit) + 1).tolist(), len(vectors)]
    return [_shot(vectors, first, stop) for first, stop in pairwise(cuts)]


def mean_vector(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 (N, E) -> float32 (E,), the mean direction, L2 norm 1."""
    mean = vectors.mean(0)
    norm = float(np.linalg.norm(mean))
    return mean / norm if norm > 0 else vectors[0]


def _shot(vectors: NDArray[np.float32], first: int, stop: int) -> Shot:
    inside = vectors[first:stop]
    return Shot(first, stop, first + int((inside @ mean_vector(inside)).argmax()))
