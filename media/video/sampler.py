"""Chooses which frames of a film to decode and to sample, and shows frames to the finder of cuts.

Where key frames are dense, only they are decoded, and the frames between two of them only if a cut may lie there. Otherwise all frames are
decoded, or those to which others refer. For uniform samples, which evaluations need, no cuts are sought.
"""

import math
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from media.video.cuts import LEAST_CHANGE, SECONDS_BETWEEN_LOOKS, CutFinder
from media.video.pixels.small_pictures import SmallPictures
from media.video.reading.frames import FrameDecoder
from media.video.reading.packets import Packets
from media.video.reading.stretches import Stretch, stretches
from media.video.sampling import SamplingPlan
from media.video.signatures import Signature, change, is_alike

_ALIKE_SECONDS = 10.0  # a picture that does not change is sampled again after this
_INTO_SHOT_SECONDS = 0.4  # a sample for a short shot is taken this long after its start

Timed = tuple[float, Any]  # a frame, with the seconds from which on a player shows it


class Sampler:
    """Samples one film. `cuts` is complete when all samples were taken."""

    def __init__(self, packets: Packets, plan: SamplingPlan) -> None:
        self._packets, self._plan, self._timeline = packets, plan, packets.timeline
        self._decoder = FrameDecoder(packets, every_frame=plan.uniform)
        self.pictures, self.cuts = SmallPictures(packets.stream), CutFinder()
        self._due = plan.interval / 2  # the frame shown at this time is the next sample
        self._shown: Timed | None = None  # the newest frame, if it may become a sample
        self._newest = -1.0  # the times of the newest frame and of the newest one that the finder of cuts saw
        self._looked = -1.0
        self._sampled: tuple[float, Signature] | None = None

    def samples(self) -> Iterator[Timed]:
        """The sampled frames. Their times rise."""
        if self._timeline.exact:
            yield from self._by_groups() if self._plan.uniform else self._by_stretches()
        else:
            yield from self._every(chain(self._decoder.decode(self._packets), self._decoder.finish()))
        if self._shown and (self._due < self._timeline.end_seconds or self._is_new(self._shown[1])):
            yield from self._sample(*self._shown)

    def _by_stretches(self) -> Iterator[Timed]:
        before: Stretch | None = None  # the last stretch, if only its key frame was decoded
        for stretch in stretches(self._packets, self._timeline, interval=self._plan.interval, longest=self._plan.longest):
            if stretch.dense or before:
                yield from self._every(self._decoder.finish())
                key = next(self._decoded(stretch.packets[:1]), None)
                if key and key[0] > self._newest:
                    yield from self._key(*key, before, sample=stretch.dense)
                    if stretch.dense:
                        before = stretch
                        continue
            before = None
            yield from self._every(self._decoder.decode(stretch.packets))
        yield from self._every(self._decoder.finish())

    def _by_groups(self) -> Iterator[Timed]:
        """Uniform samples: decode the groups of frames, each from a key frame to the next, in which a sample is due."""
        skipped = False
        for group in stretches(self._packets, self._timeline, interval=0.0, longest=self._plan.longest):
            if group.dense and self._due >= group.end:
                yield from self._every(() if skipped else self._decoder.finish())
                skipped = True
            else:
                yield from self._every(self._decoder.decode(group.packets))
                skipped = False
        yield from self._every(self._decoder.finish())

    def _decoded(self, packets: list[Any]) -> Iterator[Timed]:
        return self._timeline.timed([*self._decoder.decode(packets), *self._decoder.finish()])

    def _every(self, frames: Iterable[Any]) -> Iterator[Timed]:
        """Sample frames that follow each other."""
        for seconds, frame in self._timeline.timed(frames):
            if seconds <= self._newest:
                continue
            if self._shown and seconds > self._due:
                yield from self._sample(*self._shown)
                self._due += self._plan.interval * math.ceil((seconds - self._due) / self._plan.interval)
            self._newest, self._shown = seconds, (seconds, frame)
            if self._look(seconds, frame):
                self._due = min(self._due, seconds + _INTO_SHOT_SECONDS * max(1.0, self._plan.interval))

    def _key(self, seconds: float, frame: Any, before: Stretch | None, *, sample: bool) -> Iterator[Timed]:
        """Look at the key frame of a stretch, and find the cuts since the one before it. `sample`: it stands for the stretch."""
        if self._shown and self._due < seconds:
            yield from self._sample(*self._shown)
        self._shown = None
        signature = self.pictures.signature(frame)
        if before is None:
            self.cuts.add(seconds, signature)
        elif self.cuts.is_far(signature, likely=before.has_large_packet):
            yield from self._between(before, seconds, signature)
        else:
            self.cuts.expect()
            self.cuts.jump(seconds, signature)
        self._looked = seconds
        if sample:
            self._newest, self._due = seconds, seconds + self._plan.interval
            yield from self._sample(seconds, frame, signature)

    def _between(self, before: Stretch, stop: float, signature: Signature) -> Iterator[Timed]:
        """Find the cuts between two key frames, and sample the shots between two cuts."""
        starts: list[float] = []
        inside: dict[float, Timed] = {}
        for seconds, frame in self._decoded(before.packets) if len(before.packets) > 1 else ():
            if self._newest < seconds < stop:
                if self._look(seconds, frame):
                    starts.append(seconds)
                if starts and seconds >= starts[-1] + _INTO_SHOT_SECONDS:
                    inside.setdefault(starts[-1], (seconds, frame))
        if self._looked <= self._newest:  # the frames between are not at hand
            self.cuts.jump(stop, signature, cut=True)
        elif self.cuts.add(stop, signature):
            starts.append(stop)
        elif not starts:
            self.cuts.expect()
        for start in starts[:-1]:
            if start in inside:
                yield from self._sample(*inside[start])

    def _look(self, seconds: float, frame: Any) -> bool:
        """Show a frame to the finder of cuts, but not each of many. Returns whether a cut seems to lie just before it."""
        if self._plan.uniform or seconds - self._looked < SECONDS_BETWEEN_LOOKS - 1e-3:
            return False
        self._looked = seconds
        return self.cuts.add(seconds, self.pictures.signature(frame))

    def _is_new(self, frame: Any) -> bool:
        """Whether the last frame of a film shows something else than the last sample, such as a slide."""
        last = self._sampled
        return last is None or (not self._plan.uniform and change(last[1], self.pictures.signature(frame)) >= LEAST_CHANGE)

    def _sample(self, seconds: float, frame: Any, signature: Signature | None = None) -> Iterator[Timed]:
        """One frame; none if it looks like the last sample of a long film."""
        signature = self.pictures.signature(frame) if signature is None else signature
        last = self._sampled
        if self._plan.skips_alike and last and seconds - last[0] < _ALIKE_SECONDS and is_alike(last[1], signature):
            return
        self._sampled = seconds, signature
        yield seconds, frame
