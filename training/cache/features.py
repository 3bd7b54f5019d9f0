"""The feature cache: the output of the image tower's frozen units for several views of each picture, on the disk.

A frozen layer gives the same output at every step and does most of the work. With the cache, an epoch costs only the layers
that learn. Views are written in the order of the examples, so a killed run resumes after the last one.
"""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coca_model.architecture.image_tower import ImageTower
from coca_model.machine import batch_size
from training.cache.files import Note, hash_of_weights, write_json
from training.cache.views import view_or_reason
from training.errors import TrainingError
from training.examples.example import Example, Skipped
from training.examples.select import key_of

_MARK_EVERY = 1024  # views between two marks, from which a killed run resumes
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class FeatureCache:
    """Feature maps of views, and the examples they belong to."""

    key: str  # identifies everything that the maps depend on
    maps: NDArray[np.int16]  # (V, ...), the bits of bfloat16, mapped from the disk
    first: NDArray[np.int64]  # (N + 1,). The views of example n are first[n] to first[n + 1] - 1, the plain view first
    unreadable: frozenset[int]  # the indices of examples with an unreadable picture; their maps are zeros

    def read(self, views: NDArray[np.int64]) -> Tensor:
        """bfloat16 (B, ...), the maps of the given views."""
        return torch.from_numpy(self.maps[views]).view(torch.bfloat16)


def cache_features(
    examples: Sequence[Example],
    views: Sequence[int],
    tower: ImageTower,
    units: int,
    *,
    pictures: str,
    folder: Path,
    seed: int,
    note: Note = lambda *_: None,
) -> tuple[FeatureCache, list[Skipped]]:
    """Compute `views[n]` views of each example through the first `units` units, or reuse the result of an earlier run.

    Features of other pictures must not be reused, so the key includes `pictures`, the `pictures_key` of the examples.
    Also returns the pictures that cannot be read.
    """
    config, device = tower.config, next(tower.parameters()).device
    first = np.concatenate([[0], np.cumsum(views)]).astype(np.int64)
    key = key_of([pictures, list(views), config, units, _hash_of(tower, units), seed])
    blank = np.zeros((config.image_size, config.image_size, 3), np.uint8)
    with torch.inference_mode():
        shape = (int(first[-1]), *tower.begin(torch.from_numpy(blank)[None].to(device), units).shape[1:])
    folder.mkdir(parents=True, exist_ok=True)
    path, mark = folder / f"maps-{key}.bf16", folder / f"maps-{key}.json"
    done, unreadable = _read_mark(mark) if path.exists() and path.stat().st_size == 2 * np.prod(shape) else (0, {})
    if not done:
        _reserve(path, 2 * int(np.prod(shape)))
    maps = np.memmap(path, np.int16, "r+", shape=shape)
    owner = np.repeat(np.arange(len(examples)), views)

    def pixels(row: int) -> NDArray[np.uint8] | str:
        number = int(owner[row])
        return view_or_reason(examples[number], row - int(first[number]), config, seed=(seed, number))

    batch = batch_size(device, config)
    stream = prefetch(pixels, range(done, len(owner)), threads=2, depth=4 * batch)
    with torch.inference_mode():
        while found := list(islice(stream, batch)):
            damaged = {row: one for row, one in enumerate(found) if isinstance(one, str)}
            unreadable |= {int(owner[done + row]): reason for row, reason in damaged.items()}
            stacked = torch.from_numpy(np.stack([blank if isinstance(one, str) else one for one in found]))
            features = tower.begin(stacked.to(device), units).to(torch.bfloat16).cpu().contiguous()
            features[list(damaged)] = 0
            before, done = done, done + len(found)
            maps[before:done] = features.view(torch.int16).numpy()
            if done // _MARK_EVERY > before // _MARK_EVERY or done == len(owner):
                maps.flush()
                write_json(mark, {"done": done, "unreadable": unreadable})
            note(done, len(owner))
    skipped = [Skipped(examples[number].name, reason) for number, reason in unreadable.items()]
    return FeatureCache(key, np.memmap(path, np.int16, "r", shape=shape), first, frozenset(unreadable)), skipped


def _reserve(path: Path, size_bytes: int) -> None:
    """Create the file at its full size, because a disk that fills up under a mapped file ends the process."""
    try:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, size_bytes)) if hasattr(os, "posix_fallocate") else file.truncate(size_bytes)
    except OSError as error:
        path.unlink(missing_ok=True)
        size = f"{size_bytes / 1e9:.1f} GB; {error.strerror}"
        raise TrainingError(f"{path}: no room for the feature cache ({size}). Choose another --work, or fewer views.") from error


def _hash_of(tower: ImageTower, units: int) -> str:
    """The hash of the weights of the first `units` units, and of the layers between stem and blocks if they are included."""
    modules = [*tower.units()[:units], *([] if units <= tower.stem_units else [tower.project, tower.norm])]
    values = [parameter for module in modules for parameter in module.parameters()]
    return hash_of_weights(values if units <= tower.stem_units else [*values, tower.position])


def _read_mark(path: Path) -> tuple[int, dict[int, str]]:
    """How many views an earlier run wrote, and the reasons why examples cannot be read."""
    try:
        state = json.loads(path.read_text())
        return state["done"], {int(number): reason for number, reason in state["unreadable"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # absent or damaged
        return 0, {}


def prefetch(compute: Callable[[Item], Result], items: Iterable[Item], *, threads: int, depth: int) -> Iterator[Result]:
    """The results of `compute` in the order of `items`, up to `depth` of them computed in advance by threads."""
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(compute, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
