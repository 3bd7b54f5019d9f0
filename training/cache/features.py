"""The feature cache: the output of the image tower's frozen units for several views of each picture, on the disk.

A frozen layer gives the same output at every step and does most of the work. With the cache, an epoch costs only the layers
that learn. Views are written in the order of the examples, so a killed run resumes after the last one.
"""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coca_model.architecture.image_tower import ImageTower
from coca_model.machine import batch_size
from training.cache.files import Note, hash_of_weights, write_json
from training.cache.prefetch import prefetch
from training.cache.views import view_or_reason
from training.errors import TrainingError
from training.examples.example import Example, Skipped
from training.examples.hashes import key_of, pictures_key

_MARK_EVERY = 1024  # views between two marks, from which a killed run resumes


@dataclass(frozen=True)
class FeatureCache:
    """Feature maps of views, and the examples they belong to.

    Attributes:
        key: identifies everything that the maps depend on.
        maps: int16 (V, ...), the bits of bfloat16, mapped from the disk.
        first: int64 (N + 1,). The views of example n are first[n] to first[n + 1] - 1, the plain view first.
        unreadable: the indices of examples with an unreadable picture; their maps are zeros.
    """

    key: str
    maps: NDArray[np.int16]
    first: NDArray[np.int64]
    unreadable: frozenset[int]

    def read(self, views: NDArray[np.int64]) -> Tensor:
        """bfloat16 (B, ...), the maps of the given views."""
        return torch.from_numpy(self.maps[views]).view(torch.bfloat16)


def cache_features(
    examples: Sequence[Example],
    views: Sequence[int],
    tower: ImageTower,
    units: int,
    *,
    folder: Path,
    seed: int,
    pictures: str = "",
    note: Note = lambda *_: None,
) -> tuple[FeatureCache, list[Skipped]]:
    """Compute `views[n]` views of each example through the first `units` units, or reuse the result of an earlier run.

    Args:
        pictures: the `pictures_key`, because features of other pictures must not be reused; computed here by default.

    Returns:
        The feature cache, and the pictures that cannot be read.
    """
    config, device = tower.config, next(tower.parameters()).device
    first = np.concatenate([[0], np.cumsum(views)]).astype(np.int64)
    key = key_of([pictures or pictures_key(examples), list(views), config, units, _hash_of(tower, units), seed])
    blank = torch.zeros(1, config.image_size, config.image_size, 3, dtype=torch.uint8, device=device)
    with torch.inference_mode():
        shape = (int(first[-1]), *tower.begin(blank, units).shape[1:])
    folder.mkdir(parents=True, exist_ok=True)
    path, mark = folder / f"maps-{key}.bf16", folder / f"maps-{key}.json"
    done, unreadable = _read_mark(mark) if path.exists() and path.stat().st_size == 2 * np.prod(shape) else (0, {})
    if not done:
        _reserve(path, 2 * int(np.prod(shape)))
    maps = np.memmap(path, np.int16, "r+", shape=shape)
    owner = np.repeat(np.arange(len(examples)), views)
    todo = [(int(owner[row]), int(row - first[owner[row]])) for row in range(done, len(owner))]

    def pixels(item: tuple[int, int]) -> NDArray[np.uint8] | str:
        return view_or_reason(examples[item[0]], item[1], config, seed=(seed, item[0]))

    batch = batch_size(device, config)
    with ThreadPoolExecutor(2) as pool, torch.inference_mode():
        stream = prefetch(pool, pixels, todo, depth=4 * batch)
        while done < len(owner):
            found = list(islice(stream, batch))
            unreadable |= {int(owner[done + row]): one for row, one in enumerate(found) if isinstance(one, str)}
            stacked = np.stack([np.zeros(blank.shape[1:], np.uint8) if isinstance(one, str) else one for one in found])
            features = tower.begin(torch.from_numpy(stacked).to(device), units).to(torch.bfloat16).cpu().contiguous()
            features[[isinstance(one, str) for one in found]] = 0
            maps[done : done + len(found)] = features.view(torch.int16).numpy()
            done += len(found)
            if done // _MARK_EVERY > (done - len(found)) // _MARK_EVERY or done == len(owner):
                maps.flush()
                _write_mark(mark, done, unreadable)
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
    values += [tower.position] if units > tower.stem_units else []
    return hash_of_weights(values)


def _read_mark(path: Path) -> tuple[int, dict[int, str]]:
    """How many views an earlier run wrote, and the reasons why examples cannot be read."""
    try:
        state = json.loads(path.read_text())
        return state["done"], {int(number): reason for number, reason in state["unreadable"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # absent or damaged
        return 0, {}


def _write_mark(path: Path, done: int, unreadable: dict[int, str]) -> None:
    write_json(path, {"done": done, "unreadable": unreadable})
