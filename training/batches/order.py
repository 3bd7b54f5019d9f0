"""Which pictures and sentences a step sees, as a function of only the seed and the number of the step.

So a resumed run continues in the same order, and every rank knows the whole batch without communication. Each source is a
stream, shuffled anew for each pass, that gives its share of each batch.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from training.errors import TrainingError
from training.prepare.materials import Materials
from training.recipe import Recipe

Rows = NDArray[np.int64]
_POOL = 8  # batches of sentences from which one with similar lengths is cut


class PictureOrder:
    """Draws pictures by the share of their sources. `rows` has the numbers of the pictures of each source; shares are relative."""

    def __init__(self, rows: Mapping[str, Sequence[int]], shares: Mapping[str, float], *, seed: int) -> None:
        used = [name for name in sorted(rows) if shares[name] > 0 and len(rows[name])]
        if not used:
            raise TrainingError("There is no picture to train on: none has a text, or every source has the share 0.")
        self.rows = [np.asarray(rows[name], np.int64) for name in used]
        total = sum(shares[name] for name in used)
        self._until = np.cumsum([shares[name] / total for name in used])
        self._smallest = min(shares[name] / total for name in used)
        self._seed = seed

    def batch(self, step: int, size: int) -> Rows:
        """The pictures of a step, int64 (size,). Up to each step, every source has had its share of all pictures, rounded."""
        # If a batch has less than one picture of some source, several steps are drawn together. Rounding step by step could
        # let the number of pictures drawn from a source decrease, which would change the size of a batch.
        together = max(1, math.ceil(1 / (size * self._smallest)))
        begin = step // together * together
        ends = [np.round(self._until * size * number).astype(int) for number in (begin, begin + together)]
        first, stop = (np.diff(end, prepend=0) for end in ends)  # pictures drawn from each source before, and including, these steps
        drawn = np.concatenate([self._of_source(source, *span) for source, span in enumerate(zip(first, stop, strict=True))])
        when = np.argsort(np.concatenate([(np.arange(count) + 0.5) / count for count in stop - first]), kind="stable")
        return drawn[np.sort(when[(step - begin) * size : (step - begin + 1) * size])]

    def _of_source(self, source: int, first: int, stop: int) -> Rows:
        rows = self.rows[source]
        positions = np.arange(first, stop)
        passes = [_shuffled(len(rows), self._seed, source, int(number)) for number in np.unique(positions // len(rows))]
        if not passes:
            return np.zeros(0, np.int64)
        return rows[np.concatenate(passes)[positions - first // len(rows) * len(rows)]]


@lru_cache(maxsize=64)
def _shuffled(count: int, *seed: int) -> Rows:
    return np.random.default_rng(seed).permutation(count)


def picture_order(materials: Materials, recipe: Recipe) -> PictureOrder:
    """The order of the readable pictures with texts in the split "train"."""
    rows: dict[str, list[int]] = {}
    unreadable = materials.features.unreadable if materials.features else frozenset()
    for number, example in enumerate(materials.examples):
        if example.split == "train" and materials.corpus.of_example[number] and number not in unreadable:
            rows.setdefault(example.source, []).append(number)
    shares = {name: recipe.source(name).share for name in rows}
    if len({share is None for share in shares.values()}) > 1:
        name = next(name for name, share in shares.items() if share is None)
        raise TrainingError(f"Some sources have a share, but {name!r} has none. Set a share for it or for other_sources, or for no source.")
    return PictureOrder(rows, {name: len(rows[name]) if share is None else share for name, share in shares.items()}, seed=recipe.seed)


def sentences_of_similar_length(lengths: Rows, size: int, random: np.random.Generator) -> Rows:
    """The numbers of `size` texts of similar length, int64 (size,), so that little is computed on padding.

    A larger draw is sorted by length and cut at a random position. All texts are equally likely, except the longest and shortest.
    """
    pool = random.integers(0, len(lengths), size * _POOL)
    pool = pool[np.argsort(lengths[pool] + random.uniform(0, 1, len(pool)))]
    start = random.integers(0, len(pool) - size + 1)
    return pool[start : start + size]
