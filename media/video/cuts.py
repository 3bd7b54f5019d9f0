"""Finds cuts between shots in very small versions of frames.

A cut is a large change between two frames that follow each other, far larger than the changes just before and after it. A moving camera
changes the picture all the time, and a flash returns to the same picture. Neither is a cut. A slow transition, such as a dissolve, has no
such change: the indexer finds it in the embeddings.
"""

from collections import deque
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

SECONDS_BETWEEN_LOOKS = 0.03  # of frames that follow each other
SHORTEST_SHOT_SECONDS = 0.6  # as PySceneDetect's default
# Changes are between 0 and about 500. In films of photographs with moving cameras, cuts were 21 to 197, and other changes at most 26.
LEAST_CHANGE = 16.0
_SLIDE_CHANGE = 32.0  # where frames are shown for so long that no neighbours tell what is usual
_CONTRAST = 3.0  # times the usual change around it
_NEIGHBOURS, _NEIGHBOUR_SECONDS = 8, 1.0  # changes on each side that tell what is usual
_FAR_CONTRAST = 1.6  # the same for frames about a second apart
_NOISE = 4.0

Signature = NDArray[np.uint8]


def change(one: Signature, other: Signature) -> float:
    """The mean difference of blocks of 2 x 2 pixels, summed over luma and the two colour differences. Signatures: uint8 (3, H, W)."""
    return float(_blocks(one, other, 2).mean((1, 2)).sum())


def is_alike(one: Signature, other: Signature) -> bool:
    """Whether two frames differ by noise only, in every part of the picture."""
    return bool(_blocks(one, other, 4).max() < _NOISE)


def _blocks(one: Signature, other: Signature, size: int) -> NDArray[np.float32]:
    difference = one.astype(np.float32) - other
    channels, height, width = difference.shape
    return np.abs(difference.reshape(channels, height // size, size, width // size, size).mean((2, 4)))  # (3, H / size, W / size)


@dataclass(frozen=True)
class _Change:
    """What was seen before and after a moment; the later frame is shown from `seconds` on."""

    seconds: float
    size: float
    before: Signature
    after: Signature


class CutFinder:
    """Finds the cuts of a film. Give it frames in order of time: `add` those that follow each other, and `jump` over undecoded ones."""

    def __init__(self) -> None:
        self._last: tuple[float, Signature] | None = None
        self._run: list[_Change] = []  # between frames that follow each other
        self._num_judged = 0  # of the run
        self._distances: deque[float] = deque(maxlen=16)
        self._newest: _Change | None = None  # the newest cut, which a flash may still revoke
        self._cuts: list[float] = []

    def is_far(self, signature: Signature, *, likely: bool) -> bool:
        """Whether a frame about a second after the last one differs so much that a cut may lie between them.

        `likely`: other signs speak for a cut. Without them, the frames must differ more than usual in this film.
        """
        if self._last is None:
            return False
        distance = change(self._last[1], signature)
        usual = median(self._distances) if self._distances else 0.0
        self._distances.append(distance)
        return distance >= (LEAST_CHANGE if likely else max(LEAST_CHANGE, _FAR_CONTRAST * usual))

    def add(self, seconds: float, signature: Signature) -> bool:
        """The next frame. Returns whether a cut seems to lie just before it."""
        last, self._last = self._last, (seconds, signature)
        if last is None:
            return False
        new = _Change(seconds, change(last[1], signature), last[1], signature)
        self._run.append(new)
        self._judge(len(self._run) - _NEIGHBOURS)
        return self._is_cut(len(self._run) - 1)

    def jump(self, seconds: float, signature: Signature, *, cut: bool = False) -> None:
        """A frame after others that were not decoded. `cut`: there is a cut among them."""
        self._judge(len(self._run))
        self._run, self._num_judged = [], 0
        if cut and self._last is not None:
            before, middle = self._last[1], (self._last[0] + seconds) / 2
            self._accept(_Change(middle, change(before, signature), before, signature))
        self._last = (seconds, signature)

    def finish(self) -> list[float]:
        """All cuts, in seconds, rising."""
        self._judge(len(self._run))
        if self._newest:
            self._cuts.append(self._newest.seconds)
        self._newest = None
        return self._cuts

    def _judge(self, stop: int) -> None:
        """Decide which changes of the run before number `stop` are cuts."""
        for index in range(self._num_judged, stop):
            if self._is_cut(index):
                self._accept(self._run[index])
        surplus = max(0, stop - _NEIGHBOURS)
        self._run, self._num_judged = self._run[surplus:], max(0, stop - surplus)

    def _is_cut(self, index: int) -> bool:
        """Whether a change of the run is far larger than those around it."""
        this = self._run[index]
        around = self._run[max(0, index - _NEIGHBOURS) : index] + self._run[index + 1 : index + 1 + _NEIGHBOURS]
        sizes = [each.size for each in around if abs(each.seconds - this.seconds) <= _NEIGHBOUR_SECONDS]
        return this.size >= (max(LEAST_CHANGE, _CONTRAST * median(sizes)) if len(sizes) > 1 else _SLIDE_CHANGE)

    def _accept(self, cut: _Change) -> None:
        last = self._newest
        if last is None or cut.seconds - last.seconds >= SHORTEST_SHOT_SECONDS:
            if last is not None:
                self._cuts.append(last.seconds)
            self._newest = cut
        elif change(last.before, cut.after) < min(last.size, cut.size) / 2:
            self._newest = None  # a flash
        elif cut.size > last.size:
            self._newest = cut
