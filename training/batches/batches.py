"""The batches of a phase: rows of the order, with their views and texts, made ready while the model is at work."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coca_model.config import ImageConfig
from training.batches.batch import Batch
from training.batches.order import PictureOrder, Rows, sentences_of_one_length
from training.cache.features import KeptMaps
from training.cache.prefetch import ahead
from training.cache.views import view_or_reason
from training.errors import TrainingError
from training.examples.example import Example, Skipped
from training.objectives.masked_heads import NAMES as HIDING
from training.prepare.corpus import Corpus
from training.ranks import Ranks
from training.recipe import Phase, Recipe

_WORKERS = 4
_TRIES = 50


class Batches:
    """Batch of every step of a phase, for one rank.

    Args:
        kept: what the frozen units made of the views, or None where each step looks at fresh views.
        answers: what teachers say of each example, float16 (N, ...), by its name in `objectives.Whole`.
    """

    def __init__(
        self,
        phase: Phase,
        number: int,
        recipe: Recipe,
        *,
        examples: Sequence[Example],
        corpus: Corpus,
        order: PictureOrder | None,
        image: ImageConfig,
        num_patches: int,
        ranks: Ranks,
        kept: KeptMaps | None = None,
        answers: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.phase, self.number, self.recipe, self.ranks = phase, number, recipe, ranks
        self.examples, self.corpus, self.order, self.image, self.num_patches = examples, corpus, order, image, num_patches
        self.kept, self.answers = kept, answers or {}
        self._hides = any(name in phase.objectives for name in HIDING)
        self.skipped: dict[str, Skipped] = {}
        self._captions = np.array([example.kind == "caption" and recipe.source(example.source).captions for example in examples])
        self._lengths = corpus.lengths[corpus.sentences]
        self._pool = ThreadPoolExecutor(_WORKERS)

    def from_step(self, step: int) -> Iterator[Batch]:
        """The batches of this step and of those that follow, two of them made ahead."""
        with ThreadPoolExecutor(1) as pool:
            yield from ahead(pool, self.batch, range(step, self.phase.steps), depth=2)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def batch(self, step: int) -> Batch:
        """What this rank sees of a step."""
        random = np.random.default_rng((self.recipe.seed, self.number, step))
        batch = self._of_pictures(step, random) if self.phase.batch else Batch()
        if self.phase.sentences:
            rows = self._own(self.corpus.sentences[sentences_of_one_length(self._lengths, self.phase.sentences, random)])
            decoded = self._decoded(self.corpus.spoken[rows])
            texts = self.corpus.batch(rows, most_tokens=self.recipe.max_tokens, decoded=decoded)
            batch = dataclasses.replace(batch, sentences=texts)
        return batch

    def _of_pictures(self, step: int, random: np.random.Generator) -> Batch:
        assert self.order is not None, "a phase with pictures has an order"
        chosen = self.order.batch(step, self.phase.batch)
        random.shuffle(chosen)  # so that micro-batches and ranks see every source
        draws = random.integers(0, 2**31, (len(chosen), 2))
        noise = random.random((len(chosen), max(self.num_patches, self.recipe.max_tokens)), np.float32) if self._hides else None
        patches = None
        if self.phase.patches < 1:
            most = max(1, round(self.phase.patches * self.num_patches))
            patches = torch.from_numpy(np.sort(random.permutation(self.num_patches)[:most]))
        chosen, draws = self._own(chosen), self._own(draws)
        chosen, pictures = self._look(chosen, draws[:, 0])
        of_example = self.corpus.of_example
        texts = np.array([of_example[row][draw % len(of_example[row])] for row, draw in zip(chosen, draws[:, 1], strict=True)])
        return Batch(
            pictures,
            self.corpus.batch(texts, most_tokens=self.recipe.max_tokens, decoded=self._decoded(self._captions[chosen])),
            torch.from_numpy(chosen),
            patches,
            noise=None if noise is None else torch.from_numpy(np.array_split(noise, self.ranks.count)[self.ranks.number]),
            answers={name: answer[torch.from_numpy(chosen)].float() for name, answer in self.answers.items()},
        )

    def _look(self, chosen: Rows, draws: Rows) -> tuple[Rows, Tensor]:
        """The pictures seen and a view of each: a kept one, or a fresh one. For one that cannot be read another is looked at."""
        if self.kept is not None:
            first = self.kept.first
            return chosen, self.kept.read(first[chosen] + draws % (first[chosen + 1] - first[chosen]))
        views = list(self._pool.map(self._fresh, chosen.tolist(), draws.tolist()))
        rows = chosen.copy()
        for place in (place for place, one in enumerate(views) if one is None):
            rows[place], views[place] = self._another(int(draws[place]))
        return rows, torch.from_numpy(np.stack([one for one in views if one is not None]))

    def _another(self, draw: int) -> tuple[int, NDArray[np.uint8]]:
        """A picture that can be read, in the place of one that cannot. Raises TrainingError where many cannot."""
        assert self.order is not None, "a phase with pictures has an order"
        random, rows = np.random.default_rng(draw), np.concatenate(self.order.rows)
        for row in random.choice(rows, _TRIES).tolist():
            if (one := self._fresh(row, draw)) is not None:
                return row, one
        raise TrainingError(f"Of {_TRIES} pictures in a row none can be read ({self.skipped[self.examples[row].name].reason}).")

    def _fresh(self, row: int, draw: int) -> NDArray[np.uint8] | None:
        example = self.examples[row]
        seen = view_or_reason(example, 1 + draw, self.image, seed=(self.recipe.seed, row))
        if isinstance(seen, str):
            self.skipped[example.name] = Skipped(example.name, seen)
            return None
        return seen

    def _decoded(self, may: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The rows that the decoder learns on: the first `phase.decoded` of those that may, or all."""
        most = -(-self.phase.decoded // self.ranks.count) or len(may)
        return may & (np.cumsum(may) <= most)

    def _own(self, rows: Rows) -> Rows:
        """The part of a whole step's rows that this rank has."""
        return np.array_split(rows, self.ranks.count)[self.ranks.number]


def check_divides(phase: Phase, ranks: Ranks) -> None:
    """Raises TrainingError where a batch is not as large on every rank."""
    for name, size in (("batch", phase.batch), ("sentences", phase.sentences)):
        if size % ranks.count:
            raise TrainingError(f"phase.{name} cannot be shared by {ranks.count} ranks ({size}). Choose a multiple of {ranks.count}.")
