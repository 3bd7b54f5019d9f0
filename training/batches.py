"""The batches of a phase: drawn pictures with their views and texts, prepared in threads while the model works.

Which pictures and sentences a step sees is a function of only the seed and the number of the step. So a resumed run continues in the
same order, and every rank knows the whole batch without communication. Each source is a stream, shuffled anew for each pass, that
gives its share of each batch.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.cache.features import prefetch
from training.cache.views import view_or_reason
from training.errors import TrainingError
from training.examples.example import Skipped
from training.prepare.corpus import Texts
from training.prepare.false_texts import HARD_NEGATIVES
from training.prepare.materials import Materials
from training.ranks import Ranks
from training.recipe import Recipe

_WORKERS = 4
_TRIES = 50
_POOL = 8  # batches of sentences from which one with similar lengths is cut
Rows = NDArray[np.int64]
Draw = Callable[[int, np.random.Generator], NDArray[np.float32]]


@dataclass(frozen=True)
class Batch:
    """The pictures (B) of a step on one rank with their texts, and sentences (S) without pictures. Either may be None."""

    pictures: Tensor | None = None  # uint8 (B, H, W, 3), or the output of the tower's frozen units, bfloat16 (B, ...)
    texts: Texts | None = None  # one text for each picture
    picture: Tensor | None = None  # int64 (B,), the picture of each row. Rows with the same picture match each other's texts
    patches: Tensor | None = None  # int64 (P',), the image tokens that this step uses; None for all
    sentences: Texts | None = None  # S texts without pictures
    noise: Tensor | None = None  # float32 (B, N), uniform in 0..1, to draw the parts of each row to mask; None if no objective masks
    false_texts: Texts | None = None  # a false version of each text (B); no valid token where there is none
    seeds: Tensor | None = None  # int64 (B,), for what the model draws itself
    answers: Mapping[str, Tensor] = field(default_factory=dict)  # predictions and draws, float32 (B, ...), by name in `WholeBatch`

    def __len__(self) -> int:
        """The number of pictures, or of sentences if there are no pictures."""
        return len(self.texts) if self.texts is not None else len(self.sentences or ())

    def split(self, size: int) -> list["Batch"]:
        """Micro-batches of at most `size` pictures (0: all), with the sentences distributed over them."""
        count = max(1, -(-len(self) // size)) if size else 1

        def cut(number: int, rows: Any) -> Any:
            part = rows[len(rows) * number // count : len(rows) * (number + 1) // count]
            return part if len(part) else None

        return [dataclasses.replace(self._each(partial(cut, number)), patches=self.patches) for number in range(count)]

    def to(self, device: torch.device) -> "Batch":
        """A copy on another device."""
        return self._each(lambda part: part.to(device))

    def _each(self, change: Callable[[Any], Any]) -> "Batch":
        answers = {name: change(answer) for name, answer in self.answers.items()}
        parts = {name: change(part) for name, part in vars(self).items() if name != "answers" and part is not None}
        return Batch(**parts, answers=answers)


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


class Batches:
    """The batch of every step of a phase, by its number in the recipe, for one rank. Has `noise` if an objective masks parts of rows.

    `draws` give random numbers (B, ...) for the rows of a step, by name in `WholeBatch`, to objectives that need some.
    `skipped` has the pictures that could not be read, by name.
    """

    def __init__(
        self,
        number: int,
        recipe: Recipe,
        materials: Materials,
        ranks: Ranks,
        *,
        noise: bool,
        draws: Mapping[str, Draw] = MappingProxyType({}),
    ) -> None:
        self.phase, self.number, self.recipe, self.ranks, self.noise = recipe.phases[number], number, recipe, ranks, noise
        self.draws = draws
        self.materials, self.corpus, self.skipped = materials, materials.corpus, dict[str, Skipped]()
        self.num_patches = len(materials.model.image_tower.position)
        self._captions = np.array([one.kind == "caption" and recipe.source(one.source).captions for one in materials.examples])
        self._lengths = self.corpus.lengths[self.corpus.sentences]

    @cached_property
    def order(self) -> PictureOrder:
        """The order of the pictures. Raises TrainingError if there are none."""
        return picture_order(self.materials, self.recipe)

    def from_step(self, step: int) -> Iterator[Batch]:
        """The batches from this step on. Two of them are prepared in advance."""
        return prefetch(self.batch, range(step, self.phase.steps), threads=1, depth=2)

    def batch(self, step: int) -> Batch:
        """The part of this rank in a step."""
        random = np.random.default_rng((self.recipe.seed, self.number, step))
        batch = self._of_pictures(step, random) if self.phase.batch else Batch()
        if self.phase.sentences:
            rows = self._own(self.corpus.sentences[sentences_of_similar_length(self._lengths, self.phase.sentences, random)])
            decoded = self._decoded(self.corpus.written[rows])
            texts = self.corpus.batch(rows, most_tokens=self.recipe.max_tokens, decoded=decoded)
            batch = dataclasses.replace(batch, sentences=texts)
        return batch

    def _of_pictures(self, step: int, random: np.random.Generator) -> Batch:
        chosen = self.order.batch(step, self.phase.batch)
        random.shuffle(chosen)  # so that micro-batches and ranks see every source
        draws = random.integers(0, 2**31, (len(chosen), 2))
        noise = random.random((len(chosen), max(self.num_patches, self.recipe.max_tokens)), np.float32) if self.noise else None
        patches = None
        if self.phase.patches < 1:
            most = max(1, round(self.phase.patches * self.num_patches))
            patches = torch.from_numpy(np.sort(random.permutation(self.num_patches)[:most]))
        # From another generator, so that everything else is the same with and without draws.
        others = np.random.default_rng((self.recipe.seed, self.number, step, 1))
        drawn = {name: torch.from_numpy(self._own(draw(len(chosen), others))) for name, draw in self.draws.items()}
        seeds = self._own(others.integers(0, 2**31, len(chosen)))
        chosen, draws = self._own(chosen), self._own(draws)
        chosen, pictures = self._views(chosen, draws[:, 0])
        numbers = [self.corpus.of_example[row] for row in chosen]
        texts = np.array([of_row[draw % len(of_row)] for of_row, draw in zip(numbers, draws[:, 1], strict=True)])
        return Batch(
            pictures,
            self.corpus.batch(texts, most_tokens=self.recipe.max_tokens, decoded=self._decoded(self._captions[chosen])),
            torch.from_numpy(chosen),
            patches,
            noise=None if noise is None else torch.from_numpy(self._own(noise)),
            false_texts=self._false_texts(texts, seeds),
            seeds=torch.from_numpy(seeds),
            answers={name: answer[torch.from_numpy(chosen)].float() for name, answer in self.materials.answers.items()} | drawn,
        )

    def _false_texts(self, texts: Rows, draws: Rows) -> Texts | None:
        wanted = HARD_NEGATIVES in self.phase.objectives
        return self.corpus.false_batch(texts, draws, most_tokens=self.recipe.max_tokens) if wanted else None

    def _views(self, chosen: Rows, draws: Rows) -> tuple[Rows, Tensor]:
        """The pictures with a view of each, cached or new. Another picture replaces one that cannot be read."""
        if (features := self.materials.features) is not None:
            first = features.first
            return chosen, features.read(first[chosen] + draws % (first[chosen + 1] - first[chosen]))
        with ThreadPoolExecutor(_WORKERS) as pool:
            views = pool.map(self._new_view, chosen.tolist(), draws.tolist())
            drawn = zip(chosen.tolist(), draws.tolist(), views, strict=True)
            found = [(row, one) if one is not None else self._another(draw) for row, draw, one in drawn]
        return np.array([row for row, _ in found]), torch.from_numpy(np.stack([one for _, one in found]))

    def _another(self, draw: int) -> tuple[int, NDArray[np.uint8]]:
        """A readable picture to replace an unreadable one. Raises TrainingError if many cannot be read."""
        for row in np.random.default_rng(draw).choice(np.concatenate(self.order.rows), _TRIES).tolist():
            if (one := self._new_view(row, draw)) is not None:
                return row, one
        reason = self.skipped[self.materials.examples[row].name].reason
        raise TrainingError(f"None of {_TRIES} pictures in a row can be read ({reason}).")

    def _new_view(self, row: int, draw: int) -> NDArray[np.uint8] | None:
        example = self.materials.examples[row]
        view = view_or_reason(example, 1 + draw, self.materials.model.config.image, seed=(self.recipe.seed, row))
        if isinstance(view, str):
            self.skipped[example.name] = Skipped(example.name, view)
            return None
        return view

    def _decoded(self, allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The rows on which the decoder learns: the first `phase.decoded` of the allowed ones, or all of them."""
        most = -(-self.phase.decoded // self.ranks.count) or len(allowed)
        return allowed & (np.cumsum(allowed) <= most)

    def _own(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The part of this rank in the rows of a whole step."""
        return np.array_split(rows, self.ranks.count)[self.ranks.number]
