"""Divides the sampled frames of a video into shots.

Sudden cuts come from the decoder, which sees the frames between the samples, to about a tenth of a second. Slow transitions, such as
dissolves and fades, change the embeddings of several frames. Their time is interpolated between two samples.

A shot is at most 30 seconds long. A longer take is divided where its embeddings change most, so that each of its moments can be found, such
as those of a walk through a town: the mean vector of a longer stretch would hide short events. A stretch in which nothing happens, before a
camera that watches a garden, may last ten minutes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

LONGEST_SHOT_SECONDS, LONGEST_STILL_SECONDS = 30.0, 600.0
_STILL = 0.98  # cosine of each frame to the mean of a stretch in which nothing happens
SHORTEST_SHOT_SECONDS = 0.6
_APART_SECONDS, _FROM_CUT_SECONDS = 1.5, 1.0  # a slow transition from another, and from a cut
_WINDOW = 2  # frames on each side of a boundary that are compared
_LEAST_CHANGE = 0.25  # cosine distance. Films of photographs with moving cameras: dissolves 0.5 to 1.1, other changes at most 0.27


@dataclass(frozen=True)
class Shot:
    """The sampled frames `[first, stop)`; `best` is the frame nearest to their mean."""

    first: int
    stop: int
    best: int


def find_shots(vectors: NDArray[np.float32], times: Sequence[float], cuts: Sequence[float] = ()) -> list[tuple[float, Shot]]:
    """The shots of a video with the seconds at which they start; the first one starts at 0.

    Args:
        vectors: float32 (N, E), rows of L2 norm 1, N >= 1, in the order of time.
        times: N presentation times in seconds, rising.
        cuts: the seconds at which a new shot starts suddenly, rising.
    """
    known = {0: 0.0} | {int(np.searchsorted(times, cut)): cut for cut in cuts if cut >= SHORTEST_SHOT_SECONDS}  # first frame: start
    known.pop(len(times), None)
    runs = pairwise([*known, len(times)])
    steps = 1 - (vectors[:-1] * vectors[1:]).sum(1)  # (N - 1,)
    changes = np.concatenate([[0.0, *_changes(vectors[first:stop])] for first, stop in runs])  # (N,), from before to after each frame
    changes[1:][steps < _LEAST_CHANGE / 2] = 0.0  # windows reach beyond the boundaries of neighbours
    slow: dict[int, float] = {}
    for first in np.argsort(-changes, kind="stable")[: np.count_nonzero(changes > _LEAST_CHANGE)].tolist():  # the largest first
        start = _crossing(vectors, times, first)
        near_cut = any(abs(start - cut) < _FROM_CUT_SECONDS for cut in known.values())
        if not near_cut and all(abs(start - other) >= _APART_SECONDS for other in slow.values()):
            slow[first] = start
    starts = sorted((known | slow).items())
    stops = [*(first for first, _ in starts[1:]), len(times)]
    return [(start, _shot(vectors, first, stop)) for (first, start), stop in zip(starts, stops, strict=True)]


def timed_shots(
    vectors: NDArray[np.float32], times: Sequence[float], duration_seconds: float, cuts: Sequence[float] = ()
) -> list[tuple[float, float, Shot]]:
    """The shots of a video with their start and end in seconds, none too long. They touch each other, from 0 to the end of the video."""
    end = max(duration_seconds, times[-1])
    shots = find_shots(vectors, times, [cut for cut in cuts if cut <= end - SHORTEST_SHOT_SECONDS])
    ends = [*(start for start, _ in shots[1:]), end]
    return [part for (start, shot), stop in zip(shots, ends, strict=True) for part in _divided(vectors, times, start, stop, shot)]


def mean_vector(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 (N, E) -> float32 (E,), the mean direction, L2 norm 1."""
    mean = vectors.mean(0)
    norm = float(np.linalg.norm(mean))
    return mean / norm if norm > 0 else vectors[0]


def _changes(vectors: NDArray[np.float32]) -> list[float]:
    """Cosine distance between the means of the frames just before and just after each boundary: N - 1 values."""
    sides = ((vectors[max(0, i - _WINDOW) : i], vectors[i : i + _WINDOW]) for i in range(1, len(vectors)))
    return [1 - float(mean_vector(before) @ mean_vector(after)) for before, after in sides]


def _crossing(vectors: NDArray[np.float32], times: Sequence[float], first: int) -> float:
    """The time, between frames `first` - 1 and `first`, at which a frame would be as near to the one side as to the other."""
    before, after = mean_vector(vectors[max(0, first - _WINDOW) : first]), mean_vector(vectors[first : first + _WINDOW])
    old, new = ((vectors[first - 1 : first + 1]) @ (before - after)).tolist()  # usually positive, and negative
    part = old / (old - new) if old > 0 > new else 0.5
    return times[first - 1] + part * (times[first] - times[first - 1])


def _divided(
    vectors: NDArray[np.float32], times: Sequence[float], start: float, stop: float, shot: Shot
) -> list[tuple[float, float, Shot]]:
    """A shot in parts that are not too long: divided where it changes most in the middle half, again and again."""
    middles = [(index, (times[index - 1] + times[index]) / 2) for index in range(shot.first + 1, shot.stop)]
    length = stop - start
    inside = [(index, at) for index, at in middles if abs(at - (start + stop) / 2) <= length / 4]
    limit = LONGEST_STILL_SECONDS if length > LONGEST_SHOT_SECONDS and _is_still(vectors[shot.first : shot.stop]) else LONGEST_SHOT_SECONDS
    if length <= limit or not inside:
        return [(start, stop, shot)]
    changes = _changes(vectors[shot.first : shot.stop])
    nearness = 1e-2 / length  # a tie goes to the middle
    index, at = max(inside, key=lambda each: changes[each[0] - shot.first - 1] - nearness * abs(each[1] - (start + stop) / 2))
    left, right = _shot(vectors, shot.first, index), _shot(vectors, index, shot.stop)
    return [*_divided(vectors, times, start, at, left), *_divided(vectors, times, at, stop, right)]


def _is_still(vectors: NDArray[np.float32]) -> bool:
    return float((vectors @ mean_vector(vectors)).min()) >= _STILL


def _shot(vectors: NDArray[np.float32], first: int, stop: int) -> Shot:
    inside = vectors[first:stop]
    return Shot(first, stop, first + int((inside @ mean_vector(inside)).argmax()))
