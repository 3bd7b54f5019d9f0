"""Files that hold what was computed once: named after all that it depends on, and there whole or not at all."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from training.errors import TrainingError
from training.examples.example import Example

Note = Callable[[int, int], None]  # how much is done, and how much there is


def key_of(value: object) -> str:
    """16 hexadecimal digits that stand for `value` in the name of what was computed from it."""
    return hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()[:16]


def hashes_of_pictures(examples: Sequence[Example]) -> list[str]:
    """The sha256 of the bytes of each picture, which costs reading them once; empty for those that cannot be read."""

    def digest(example: Example) -> str:
        try:
            return hashlib.sha256(example.read()).hexdigest()
        except OSError:
            return ""

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(digest, examples))


def hash_of_pictures(examples: Sequence[Example], hashes: Sequence[str] | None = None) -> str:
    """Stands for the names and bytes of all pictures, in order; `hashes` are those of `hashes_of_pictures`, where they are known."""
    return key_of([[example.name for example in examples], hashes or hashes_of_pictures(examples)])


def hash_of_weights(weights: Iterable[Tensor]) -> str:
    """The sha256 of the values of all weights, in float32 and in order."""
    total = hashlib.sha256()
    for weight in weights:
        total.update(weight.detach().float().cpu().numpy().tobytes())
    return total.hexdigest()


@contextmanager
def hold(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock `path`, in a folder that is made where it is not there: one process at a time does.

    Raises:
        TrainingError: another one holds it, and this one is not to `wait`; or the folder cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=-1 if wait else 0)
        lock.acquire()
    except Timeout:
        raise TrainingError(f"{path.parent}: another training writes there. Wait for it, or pass another output folder.") from None
    except OSError as error:
        raise TrainingError(f"{path.parent}: no folder can be made there ({error.strerror}). Choose another.") from error
    try:
        yield
    finally:
        lock.release()


def refuse_other(path: Path, found: str, fingerprint: str) -> None:
    """Raises TrainingError where what lies at `path` is of another training than the one with `fingerprint`."""
    if found != fingerprint:
        raise TrainingError(f"{path}: of other pictures, texts or start. Pass another output folder, or --overwrite to begin again.")


def write_json(path: Path, value: object) -> None:
    """JSON to a file that is there whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def kept_tensor(path: Path, compute: Callable[[], Tensor]) -> Tensor:
    """What `compute` gives, from `path` where an earlier run left it whole; else it is computed and left there."""
    with suppress(Exception):  # not there, or damaged, which raises nearly anything
        return cast("Tensor", torch.load(path, weights_only=True))
    found = compute()
    write_whole(path, found)
    return found


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
