"""Finds slow transitions between two shots that move little: dissolves, wipes, pictures that slide in.

During such a transition, each frame is a mixture of the picture before and the picture after. So it lies between both: its distances to
them add up to the distance between them. A moving camera makes pictures that are far from both. Before and after it, the picture is at
rest; otherwise the film may only become lighter. Where shots move more, the indexer finds the transition in the embeddings.
"""

from collections import deque
from itertools import pairwise

from media.video.signatures import Signature, change, other_colours

_STEP_SECONDS = 0.2  # between frames that are kept
_KEPT_SECONDS = 4.0
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.35, 2.7
_AT_REST_SECONDS = 0.35, 1.2  # the picture must be at rest for this long before and after
_LEAST_CHANGE, _LEAST_OTHER_COLOURS = 24.0, 0.3  # a camera that moves keeps most of the colours
_REST, _DETOUR, _SUDDEN = 0.2, 1.2, 0.65  # parts of the whole change: while at rest, by way of a frame between, and in one step
_SLOWER = 0.5  # the speed of change while at rest, as a part of that of the transition

_Kept = tuple[float, Signature]


class TransitionFinder:
    """Give it the frames of a film in order of time; `middles` are the seconds of the transitions found so far."""

    def __init__(self) -> None:
        self._kept: deque[_Kept] = deque()
        self.middles: list[float] = []

    def add(self, seconds: float, signature: Signature) -> None:
        """The next frame. Frames may be left out."""
        if self._kept and seconds - self._kept[-1][0] < _STEP_SECONDS:
            return
        self._kept.append((seconds, signature))
        while seconds - self._kept[0][0] > _KEPT_SECONDS:
            self._kept.popleft()
        if change(self._kept[0][1], signature) >= _LEAST_CHANGE and (found := self._found()):
            middle, stop = found
            self.middles.append(middle)
            while self._kept[0][0] < stop:
                self._kept.popleft()

    def _found(self) -> tuple[float, float] | None:
        """The middle and the end of a transition, at whose end the newest frame is at rest."""
        kept, newest = list(self._kept), self._kept[-1]
        after = _index_before(kept, newest[0] - _AT_REST_SECONDS[0])
        if after < 2 or change(kept[after][1], newest[1]) > _LEAST_CHANGE:  # moves, as most films do nearly always
            return None
        for first in range(after - 2, 0, -1):
            length = kept[after][0] - kept[first][0]
            before = _index_before(kept, kept[first][0] - _AT_REST_SECONDS[0])
            if length > _LONGEST_SECONDS or before < 0:
                break
            rests = (kept[before], kept[first]), (kept[after], newest)
            if length >= _SHORTEST_SECONDS and (middle := _middle(kept[first : after + 1], rests)) is not None:
                return middle, kept[after][0]
        return None


def _index_before(kept: list[_Kept], seconds: float) -> int:
    """The number of the last frame that is not later; -1 if there is none."""
    return next((index for index in range(len(kept) - 1, -1, -1) if kept[index][0] <= seconds + 1e-6), -1)


def _middle(frames: list[_Kept], rests: tuple[tuple[_Kept, _Kept], ...]) -> float | None:
    """When half of the change between the first and the last frame has happened; None if it is no transition."""
    old, new = frames[0][1], frames[-1][1]
    whole, seconds = change(old, new), frames[-1][0] - frames[0][0]
    if (
        whole < _LEAST_CHANGE
        or other_colours(old, new) < _LEAST_OTHER_COLOURS
        or not all(_is_rest(*rest, whole, whole / seconds) for rest in rests)
    ):
        return None
    done = [0.0, *(change(old, frame) for _, frame in frames[1:-1]), whole]
    is_straight = all(part + change(frame, new) <= _DETOUR * whole for part, (_, frame) in zip(done, frames, strict=True))
    if not is_straight or max(after - before for before, after in pairwise(done)) > _SUDDEN * whole:
        return None
    index = next(index for index, part in enumerate(done) if part >= whole / 2)
    (earlier, _), (later, _) = frames[index - 1], frames[index]
    return earlier + (later - earlier) * (whole / 2 - done[index - 1]) / (done[index] - done[index - 1])


def _is_rest(earlier: _Kept, later: _Kept, whole: float, speed: float) -> bool:
    """Whether the picture hardly changes between two frames, compared to the change of the transition and to its speed."""
    seconds, moved = later[0] - earlier[0], change(earlier[1], later[1])
    return seconds <= _AT_REST_SECONDS[1] and moved <= min(_REST * whole, _SLOWER * speed * seconds)
