"""Files that hold what was computed once: named after all that it depends on, and there whole or not at all."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from training.errors import TrainingError
from training.examples import Example

Note = Callable[[int, int], None]  # how much is done, and how much there is


def key_of(value: object) -> str:
    """16 hexadecimal digits that stand for `value` in the name of what was computed from it."""
    return hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()[:16]


def hash_of_pictures(examples: Sequence[Example]) -> str:
    """The sha256 of the names and bytes of all pictures, in order, which costs reading them once."""

    def digest(example: Example) -> bytes:
        try:
            return hashlib.sha256(example.name.encode() + example.read()).digest()
        except OSError:
            return b""

    total = hashlib.sha256()
    with ThreadPoolExecutor(4) as pool:
        for one in pool.map(digest, examples):
            total.update(one)
    return total.hexdigest()


def hash_of_weights(weights: Iterable[Tensor]) -> str:
    """The sha256 of the values of all weights, in float32 and in order."""
    total = hashlib.sha256()
    for weight in weights:
        total.update(weight.detach().float().cpu().numpy().tobytes())
    return total.hexdigest()


def refuse_other(path: Path, found: str, fingerprint: str) -> None:
    """Raises TrainingError where what lies at `path` is of another training than the one with `fingerprint`."""
    if found != fingerprint:
        raise TrainingError(f"{path}: of another recipe, start or data. Pass another output folder, or --overwrite to begin again.")


def write_json(path: Path, value: object) -> None:
    """JSON to a file that is there whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def write_whole(path: Path, value: object) -> None:
    """`torch.save` to a file that is there whole or not at all. Raises TrainingError where it cannot be written."""
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(value, partial)
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # torch.save raises RuntimeError where the disk is full
        partial.unlink(missing_ok=True)
        raise TrainingError(f"{path}: cannot be written ({error}). Choose a folder with room.") from error
