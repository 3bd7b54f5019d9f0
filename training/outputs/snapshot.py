"""What a training leaves on the disk so that it can go on: everything that the next step depends on but the data.

The order of the data is a function of the seed and the step (see `order`), so the number of the step stands for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from training.cache.files import refuse_other, write_whole
from training.errors import TrainingError


@dataclass(frozen=True)
class Snapshot:
    """The state before step `step` of phase `phase`.

    Attributes:
        states: state dicts by what they are of: model, average, optimizer, schedule.
        unread: name and reason of each picture that could not be read so far.
    """

    fingerprint: str
    phase: int
    step: int
    states: Mapping[str, Any]
    unread: Sequence[tuple[str, str]] = ()


def save_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write a snapshot; whoever is killed meanwhile finds the one before."""
    write_whole(path, {**vars(snapshot), "states": dict(snapshot.states)})


def read_snapshot(path: Path, fingerprint: str) -> Snapshot | None:
    """The snapshot of an earlier run, or None where there is none.

    Raises:
        TrainingError: it is of another recipe, or damaged.
    """
    if not path.exists():
        return None
    try:
        snapshot = Snapshot(**torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # a damaged archive raises nearly anything
        raise TrainingError(f"{path}: damaged ({error}). Remove it to begin again.") from error
    refuse_other(path, snapshot.fingerprint, fingerprint)
    return snapshot
