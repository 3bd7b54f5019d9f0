"""Which pictures and sentences a step sees: a function of the seed and the number of the step, and of nothing else.

So a training that was killed goes on in the order in which it would have gone on, and every rank of several knows the
whole batch without asking the others. Each source is a stream that is shuffled anew at each pass, and gives its share of each batch.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from training.errors import TrainingError

Rows = NDArray[np.int64]
_POOL = 8  # batches of sentences among which one of about one length is cut


class PictureOrder:
    """Draws pictures by the share of their sources.

    Args:
        rows: for each source the numbers of its pictures.
        shares: for each source its share of a batch, relative to the others'.
    """

    def __init__(self, rows: Mapping[str, Sequence[int]], shares: Mapping[str, float], *, seed: int) -> None:
        used = [name for name in sorted(rows) if shares[name] > 0 and len(rows[name])]
        if not used:
            raise TrainingError("No picture can be trained on: none has a text, or every source has the share 0.")
        self.rows = [np.asarray(rows[name], np.int64) for name in used]
        total = sum(shares[name] for name in used)
        self._until = np.cumsum([shares[name] / total for name in used])
        self._smallest = min(shares[name] / total for name in used)
        self._seed = seed

    def batch(self, step: int, size: int) -> Rows:
        """The pictures of a step, int64 (size,): of each source as many as bring it to its share of all steps up to this one."""
        # Drawn for several steps together where a batch has less than one picture of some source: rounded step by step, the
        # number of pictures drawn from it could fall again, and the batch would have another size.
        together = max(1, math.ceil(1 / (size * self._smallest)))
        begin = step // together * together
        ends = [np.round(self._until * size * number).astype(int) for number in (begin, begin + together)]
        first, stop = (np.diff(end, prepend=0) for end in ends)  # how many of each source were drawn before, and then
        drawn = np.concatenate([self._of_source(source, *span) for source, span in enumerate(zip(first, stop, strict=True))])
        when = np.argsort(np.concatenate([(np.arange(count) + 0.5) / count for count in stop - first]), kind="stable")
        return drawn[np.sort(when[(step - begin) * size : (step - begin + 1) * size])]

    def _of_source(self, source: int, first: int, stop: int) -> Rows:
        rows = self.rows[source]
        places = np.arange(first, stop)
        passes = [_shuffled(len(rows), self._seed, source, int(number)) for number in np.unique(places // len(rows))]
        if not passes:
            return np.zeros(0, np.int64)
        return rows[np.concatenate(passes)[places - first // len(rows) * len(rows)]]


@lru_cache(maxsize=64)
def _shuffled(count: int, *seed: int) -> Rows:
    return np.random.default_rng(seed).permutation(count)


def sentences_of_one_length(lengths: Rows, size: int, random: np.random.Generator) -> Rows:
    """Numbers of `size` texts of about one length, int64 (size,), so that little is computed on padding.

    Cut at a random place from a larger draw in the order of length; each text is as likely as any other, but for the longest and shortest.
    """
    pool = random.integers(0, len(lengths), size * _POOL)
    pool = pool[np.argsort(lengths[pool] + random.uniform(0, 1, len(pool)))]
    start = random.integers(0, len(pool) - size + 1)
    return pool[start : start + size]
