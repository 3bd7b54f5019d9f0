"""The batches of a phase: drawn pictures with their views and texts, prepared in threads while the model works."""

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.batches.batch import Batch
from training.batches.order import Rows, picture_order, sentences_of_similar_length
from training.cache.prefetch import prefetch
from training.cache.views import view_or_reason
from training.errors import TrainingError
from training.examples.example import Skipped
from training.prepare.materials import Materials
from training.ranks import Ranks
from training.recipe import Recipe

_WORKERS = 4
_TRIES = 50


class Batches:
    """The batch of every step of a phase, for one rank.

    Args:
        number: of the phase in the recipe.
        noise: whether an objective masks parts of the rows.

    Attributes:
        skipped: the pictures that could not be read, by name.
    """

    def __init__(self, number: int, recipe: Recipe, materials: Materials, ranks: Ranks, *, noise: bool) -> None:
        self.phase, self.number, self.recipe, self.ranks, self.noise = recipe.phases[number], number, recipe, ranks, noise
        self.examples, self.corpus = materials.examples, materials.corpus
        self.features, self.answers = materials.features, materials.answers
        self.image, self.num_patches = materials.model.config.image, len(materials.model.image_tower.position)
        self.order = picture_order(materials, recipe) if self.phase.batch else None
        self.skipped: dict[str, Skipped] = {}
        self._captions = np.array([one.kind == "caption" and recipe.source(one.source).captions for one in self.examples])
        self._lengths = self.corpus.lengths[self.corpus.sentences]
        self._pool = ThreadPoolExecutor(_WORKERS)

    def from_step(self, step: int) -> Iterator[Batch]:
        """The batches from this step on. Two of them are prepared in advance."""
        with ThreadPoolExecutor(1) as pool:
            yield from prefetch(pool, self.batch, range(step, self.phase.steps), depth=2)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

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
        assert self.order is not None, "a phase with pictures has an order"
        chosen = self.order.batch(step, self.phase.batch)
        random.shuffle(chosen)  # so that micro-batches and ranks see every source
        draws = random.integers(0, 2**31, (len(chosen), 2))
        noise = random.random((len(chosen), max(self.num_patches, self.recipe.max_tokens)), np.float32) if self.noise else None
        patches = None
        if self.phase.patches < 1:
            most = max(1, round(self.phase.patches * self.num_patches))
            patches = torch.from_numpy(np.sort(random.permutation(self.num_patches)[:most]))
        chosen, draws = self._own(chosen), self._own(draws)
        chosen, pictures = self._views(chosen, draws[:, 0])
        of_example = self.corpus.of_example
        texts = np.array([of_example[row][draw % len(of_example[row])] for row, draw in zip(chosen, draws[:, 1], strict=True)])
        return Batch(
            pictures,
            self.corpus.batch(texts, most_tokens=self.recipe.max_tokens, decoded=self._decoded(self._captions[chosen])),
            torch.from_numpy(chosen),
            patches,
            noise=None if noise is None else torch.from_numpy(self._own(noise)),
            answers={name: answer[torch.from_numpy(chosen)].float() for name, answer in self.answers.items()},
        )

    def _views(self, chosen: Rows, draws: Rows) -> tuple[Rows, Tensor]:
        """The pictures with a view of each, cached or new. Another picture replaces one that cannot be read."""
        if self.features is not None:
            first = self.features.first
            return chosen, self.features.read(first[chosen] + draws % (first[chosen + 1] - first[chosen]))
        views = list(self._pool.map(self._new_view, chosen.tolist(), draws.tolist()))
        rows = chosen.copy()
        for position in (position for position, one in enumerate(views) if one is None):
            rows[position], views[position] = self._another(int(draws[position]))
        return rows, torch.from_numpy(np.stack([one for one in views if one is not None]))

    def _another(self, draw: int) -> tuple[int, NDArray[np.uint8]]:
        """A readable picture to replace an unreadable one. Raises TrainingError if many cannot be read."""
        assert self.order is not None, "a phase with pictures has an order"
        random, rows = np.random.default_rng(draw), np.concatenate(self.order.rows)
        for row in random.choice(rows, _TRIES).tolist():
            if (one := self._new_view(row, draw)) is not None:
                return row, one
        raise TrainingError(f"None of {_TRIES} pictures in a row can be read ({self.skipped[self.examples[row].name].reason}).")

    def _new_view(self, row: int, draw: int) -> NDArray[np.uint8] | None:
        example = self.examples[row]
        view = view_or_reason(example, 1 + draw, self.image, seed=(self.recipe.seed, row))
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
