"""Divides a file into segments: a picture is one, a video has one for each shot and one for the whole clip.

Shots are found in the embeddings of frames. The vector of a whole clip is the mean of 16 uniformly spaced frames
(CoCa paper, section 4.2, video retrieval).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from search.collection import Segment
from search.schema import MAX_SEGMENTS_PER_FILE

CLIP_FRAMES = 16
_CUT_DISTANCE = 0.30  # a cosine distance between neighbouring frames above this is always a cut
_CUT_CONTRAST = 4.0  # or this many times the median distance in this video
_LEAST_CUT_DISTANCE = 0.12


@dataclass(frozen=True)
class Shot:
    """The sampled frames `[first, stop)`; `best` is the frame nearest to their mean."""

    first: int
    stop: int
    best: int


def picture_segments(vector: NDArray[np.float32]) -> tuple[Segment, ...]:
    """The segments of a picture. `vector`: float32 (E,), L2 norm 1."""
    return (Segment("image", vector),)


def video_segments(
    vectors: NDArray[np.float32], times: Sequence[float], duration_seconds: float, cuts: Sequence[float] = ()
) -> tuple[Segment, ...]:
    """The segments of a video: the whole clip first, then each shot.

    Args:
        vectors: float32 (N, E), rows of L2 norm 1, N >= 1, in the order of time.
        times: N presentation times in seconds, rising.
        duration_seconds: length of the video.
    """
    clip = mean_vector(vectors[clip_frames(len(vectors))])
    segments = [Segment("clip", clip, 0.0, duration_seconds, times[len(times) // 2])]
    for shot in find_shots(vectors)[: MAX_SEGMENTS_PER_FILE - 1]:
        start = 0.0 if shot.first == 0 else (times[shot.first - 1] + times[shot.first]) / 2
        end = max(duration_seconds, times[-1]) if shot.stop == len(times) else (times[shot.stop - 1] + times[shot.stop]) / 2
        segments.append(Segment("shot", mean_vector(vectors[shot.first : shot.stop]), start, end, times[shot.best]))
    return tuple(segments)


def clip_frames(count: int) -> NDArray[np.int64]:
    """The indices of at most 16 uniformly spaced of `count` frames, int64."""
    return np.linspace(0, count - 1, min(count, CLIP_FRAMES)).round().astype(np.int64)


def find_shots(vectors: NDArray[np.float32]) -> list[Shot]:
    """Cut where neighbouring frames differ far more than frames of this video usually do. `vectors` as in `video_segments`."""
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
