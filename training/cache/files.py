"""Files with computed results: locked while they are written, and either complete or absent."""

import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import cast

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from media.atomic_write import atomic_path, atomic_write
from training.errors import TrainingError

Note = Callable[[int, int], None]  # progress: how much is done, and the total


def hash_of_weights(weights: Iterable[Tensor]) -> str:
    """The SHA-256 of the float32 values of all weights, in order."""
    total = hashlib.sha256()
    for weight in weights:
        total.update(weight.detach().float().cpu().numpy().tobytes())
    return total.hexdigest()


def lock(path: Path, *, wait: bool = False) -> AbstractContextManager[object]:
    """Acquire the lock file `path`, which one process at a time can hold, until the context ends. Creates its folder.

    Raises TrainingError if another process holds the lock and `wait` is False, or if the folder cannot be created.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path).acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise TrainingError(f"{path.parent}: another training run writes there. Wait for it, or pass another output folder.") from None
    except OSError as error:
        raise TrainingError(f"{path.parent}: the folder cannot be created ({error.strerror}). Choose another.") from error


def cached_tensor(path: Path, compute: Callable[[], Tensor]) -> Tensor:
    """The tensor that an earlier run saved at `path`; otherwise computes and saves it."""
    with suppress(Exception):  # absent, or damaged, which raises nearly anything
        return cast("Tensor", torch.load(path, weights_only=True))
    computed = compute()
    save(path, computed)
    return computed


def save(path: Path, value: object) -> None:
    """`torch.save`, atomically. Creates the folder. Raises TrainingError if the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as partial:
            torch.save(value, partial)
    except (OSError, RuntimeError) as error:  # torch.save raises RuntimeError if the disk is full
        raise TrainingError(f"{path}: cannot be written ({error}). Choose a folder with room.") from error


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically."""
    atomic_write(path, json.dumps(value, indent=2) + "\n")
