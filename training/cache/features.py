"""What the frozen front of the image tower makes of several views of each picture, computed once and kept on the disk.

A frozen layer gives the same at every step, and it is where most of the work is: an epoch over what is kept costs only the
layers that learn. Views are written in the order of the examples, so that a run that was killed goes on behind the last.
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

from coca_model.image_tower import ImageTower
from coca_model.machine import batch_size
from training.cache.files import Note, hash_of_pictures, hash_of_weights, key_of, write_json
from training.cache.prefetch import ahead
from training.cache.views import view_or_reason
from training.errors import TrainingError
from training.examples.example import Example, Skipped

_PART = 1024  # views between two marks from which a killed run goes on


@dataclass(frozen=True)
class KeptMaps:
    """The maps, on the disk as bfloat16, and which rows show which example.

    Attributes:
        key: stands for all that they depend on.
        maps: int16 (V, ...), the bits of bfloat16.
        first: int64 (N + 1,), the first view of each example; the views of example n are first[n] to first[n + 1], the plain one first.
        unreadable: the numbers of examples whose picture cannot be read; their maps are zeros.
    """

    key: str
    maps: NDArray[np.int16]
    first: NDArray[np.int64]
    unreadable: frozenset[int]

    def read(self, views: NDArray[np.int64]) -> Tensor:
        """bfloat16 (B, ...), the maps of the given views."""
        return torch.from_numpy(self.maps[views]).view(torch.bfloat16)


def keep_maps(
    examples: Sequence[Example],
    views: Sequence[int],
    tower: ImageTower,
    units: int,
    *,
    folder: Path,
    seed: int,
    pictures: str = "",
    note: Note = lambda *_: None,
) -> tuple[KeptMaps, list[Skipped]]:
    """Run `views[n]` views of each example through the first `units` units of the tower, or take up what an earlier run left.

    Args:
        pictures: the hash of all pictures, so that nothing is taken up that was made of others; computed here where it is not given.

    Returns:
        The maps, and the pictures that cannot be read.
    """
    config, device = tower.config, next(tower.parameters()).device
    first = np.concatenate([[0], np.cumsum(views)]).astype(np.int64)
    key = key_of([pictures or hash_of_pictures(examples), list(views), config, units, _hash_of(tower, units), seed])
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
    work = [(int(owner[row]), int(row - first[owner[row]])) for row in range(done, len(owner))]

    def pixels(item: tuple[int, int]) -> NDArray[np.uint8] | str:
        return view_or_reason(examples[item[0]], item[1], config, seed=(seed, item[0]))

    batch = batch_size(device, config)
    with ThreadPoolExecutor(2) as pool, torch.inference_mode():
        stream = ahead(pool, pixels, work, depth=4 * batch)
        while done < len(owner):
            found = list(islice(stream, batch))
            unreadable |= {int(owner[done + place]): one for place, one in enumerate(found) if isinstance(one, str)}
            good = np.stack([np.zeros(blank.shape[1:], np.uint8) if isinstance(one, str) else one for one in found])
            kept = tower.begin(torch.from_numpy(good).to(device), units).to(torch.bfloat16).cpu().contiguous()
            kept[[isinstance(one, str) for one in found]] = 0
            maps[done : done + len(found)] = kept.view(torch.int16).numpy()
            done += len(found)
            if done // _PART > (done - len(found)) // _PART or done == len(owner):
                maps.flush()
                _write_mark(mark, done, unreadable)
            note(done, len(owner))
    skipped = [Skipped(examples[number].name, reason) for number, reason in unreadable.items()]
    return KeptMaps(key, np.memmap(path, np.int16, "r", shape=shape), first, frozenset(unreadable)), skipped


def _reserve(path: Path, size_bytes: int) -> None:
    """Make the file with all the room it will need: a disk that fills up under a mapped file would end the process."""
    try:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, size_bytes)) if hasattr(os, "posix_fallocate") else file.truncate(size_bytes)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise TrainingError(
            f"{path}: no room for the kept views ({size_bytes / 1e9:.1f} GB; {error.strerror}). Choose another --work, or fewer views."
        ) from error


def _hash_of(tower: ImageTower, units: int) -> str:
    """Of the weights of the first `units` units, and of what stands between stem and blocks where those are among them."""
    modules = [*tower.units()[:units], *([] if units <= tower.stem_units else [tower.project, tower.norm])]
    values = [parameter for module in modules for parameter in module.parameters()]
    values += [tower.position] if units > tower.stem_units else []
    return hash_of_weights(values)


def _read_mark(path: Path) -> tuple[int, dict[int, str]]:
    """How many views an earlier run left, and which examples cannot be read."""
    try:
        state = json.loads(path.read_text())
        return state["done"], {int(number): reason for number, reason in state["unreadable"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not there, or damaged
        return 0, {}


def _write_mark(path: Path, done: int, unreadable: dict[int, str]) -> None:
    write_json(path, {"done": done, "unreadable": unreadable})
