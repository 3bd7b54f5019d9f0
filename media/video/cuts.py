"""Finds cuts between shots in very small versions of frames.

A cut is a large change between two frames that follow each other, far larger than the changes just before and after it. A moving camera
changes the picture all the time, and a flash returns to the same picture. Neither is a cut. A fade through black, white or another colour
is one, in its middle. Another slow transition, such as a dissolve, is one if both shots move little (`transitions.py`). Otherwise the
indexer finds it in the embeddings.
"""

from collections import deque
from dataclasses import dataclass
from statistics import median

from media.video.signatures import Signature, change, other_colours
from media.video.transitions import TransitionFinder

SECONDS_BETWEEN_LOOKS = 0.03  # of frames that follow each other
SHORTEST_SHOT_SECONDS = 0.6  # as PySceneDetect's default
_FROM_CUT_SECONDS = 0.6  # a fade or another slow transition from a cut
# Changes are between 0 and about 500. In films of photographs with moving cameras, cuts were 21 to 197, and other changes at most 26.
LEAST_CHANGE = 16.0
_SLIDE_CHANGE = 32.0  # where frames are shown for so long that no neighbours tell what is usual
_CONTRAST = 3.0  # times the usual change around it
_NEIGHBOURS, _NEIGHBOUR_SECONDS = 8, 1.0  # changes on each side that tell what is usual
_FAR_CONTRAST, _LEAST_OTHER_COLOURS = 1.6, 0.4  # for frames about a second apart: times the usual, and a part of all pixels
_NUM_USUAL = 4  # such distances tell what is usual
_BLANK_CONTRAST, _CLEAR_CONTRAST, _FADE_SECONDS = 24, 60, 2.0  # range of luma in a blank and in a clear picture; between the two


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
        self._distance = 0.0, 0.0  # of the last two frames about a second apart, and usual ones
        self._distances: deque[tuple[float, float]] = deque(maxlen=16)
        self._newest: _Change | None = None  # the newest cut, which a flash may still revoke
        self._cuts: list[float] = []
        self._clear: tuple[float, Signature] | None = None  # the newest clear picture
        self._blank: tuple[float, float] | None = None  # the first and last blank frame after it
        self._fades: list[tuple[float, float]] = []  # such times of blank frames between two pictures
        self._slow = TransitionFinder()

    def is_far(self, signature: Signature, *, likely: bool) -> bool:
        """Whether a frame about a second after the last one differs so much that a cut may lie between them.

        `likely`: other signs speak for a cut. Without them, the frames must differ more than usual in this film, pixel by pixel, or in the
        colours that they contain, whatever their place. A moving camera changes the place of colours, but keeps most of them.
        """
        if self._last is None:
            return False
        distance, others = change(self._last[1], signature), other_colours(self._last[1], signature)
        known = len(self._distances) >= _NUM_USUAL
        usual = [median(values) for values in zip(*self._distances, strict=True)] if known else [0.0, 0.0]
        self._distance = distance, others
        unusual = distance >= _FAR_CONTRAST * usual[0] or others >= max(_LEAST_OTHER_COLOURS, _FAR_CONTRAST * usual[1])
        return distance >= LEAST_CHANGE and (likely or unusual)

    def expect(self) -> None:
        """There was no cut before the frame that `is_far` saw: such a difference is usual in this film."""
        self._distances.append(self._distance)

    def add(self, seconds: float, signature: Signature) -> bool:
        """The next frame. Returns whether a cut seems to lie just before it."""
        self._slow.add(seconds, signature)
        last, self._last = self._last, (seconds, signature)
        if last is None:
            return False
        self._note_fade(seconds, signature)
        new = _Change(seconds, change(last[1], signature), last[1], signature)
        self._run.append(new)
        self._judge(len(self._run) - _NEIGHBOURS)
        return self._is_cut(len(self._run) - 1)

    def jump(self, seconds: float, signature: Signature, *, cut: bool = False) -> None:
        """A frame after others that were not decoded. `cut`: there is a cut among them."""
        self._slow.add(seconds, signature)
        self._judge(len(self._run))
        self._run, self._num_judged = [], 0
        if cut and self._last is not None:
            before, middle = self._last[1], (self._last[0] + seconds) / 2
            self._accept(_Change(middle, change(before, signature), before, signature))
        self._last = (seconds, signature)

    def finish(self) -> list[float]:
        """All cuts, in seconds, rising."""
        self._judge(len(self._run))
        cuts = [*self._cuts, *([self._newest.seconds] if self._newest else [])]
        for start, stop in (*self._fades, *((middle, middle) for middle in self._slow.middles)):
            if not any(start - _FROM_CUT_SECONDS < cut < stop + _FROM_CUT_SECONDS for cut in cuts):
                cuts.append((start + stop) / 2)
        return sorted(cuts)

    def _note_fade(self, seconds: float, signature: Signature) -> None:
        """A fade: a clear picture, soon after it a blank one, and soon after that another clear picture."""
        contrast = int(signature[0].max()) - int(signature[0].min())
        if contrast <= _BLANK_CONTRAST:
            self._blank = (self._blank[0] if self._blank else seconds, seconds)
        elif contrast >= _CLEAR_CONTRAST:
            if self._blank and self._clear:
                quick = max(self._blank[0] - self._clear[0], seconds - self._blank[1]) <= _FADE_SECONDS
                if quick and change(self._clear[1], signature) >= LEAST_CHANGE:
                    self._fades.append(self._blank)
            self._blank, self._clear = None, (seconds, signature)

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
        sides = self._run[max(0, index - _NEIGHBOURS) : index], self._run[index + 1 : index + 1 + _NEIGHBOURS]
        near = [[each.size for each in side if abs(each.seconds - this.seconds) <= _NEIGHBOUR_SECONDS] for side in sides]
        if len(near[0]) + len(near[1]) < 2:
            return this.size >= _SLIDE_CHANGE
        return this.size >= max(LEAST_CHANGE, _CONTRAST * max(median(sizes) for sizes in near if sizes))

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
