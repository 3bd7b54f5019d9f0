"""Snapshots: everything that the next step depends on, except the data, so that a stopped run can resume.

The order of the data is a function of the seed and the step (see `batches/order.py`), so the number of the step is enough.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from training.cache.files import save
from training.errors import TrainingError


@dataclass(frozen=True)
class Snapshot:
    """The state before step `step` of phase `phase`.

    Attributes:
        states: the state dicts of model, average, optimizer, schedule and others, by name.
        unreadable: name and reason of each picture that could not be read so far.
    """

    fingerprint: str
    phase: int
    step: int
    states: Mapping[str, Any]
    unreadable: Sequence[tuple[str, str]] = ()


def save_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write a snapshot atomically."""
    save(path, {**vars(snapshot), "states": dict(snapshot.states)})


def read_snapshot(path: Path, fingerprint: str) -> Snapshot | None:
    """The snapshot of an earlier run, or None if there is none.

    Raises:
        TrainingError: it is damaged, or belongs to another run.
    """
    if not path.exists():
        return None
    try:
        snapshot = Snapshot(**torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # a damaged archive raises nearly anything
        raise TrainingError(f"{path}: damaged ({error}). Remove it to start again.") from error
    check_fingerprint(path, snapshot.fingerprint, fingerprint)
    return snapshot


def check_fingerprint(path: Path, found: str, fingerprint: str) -> None:
    """Raises TrainingError if the file at `path` belongs to a run with other pictures, texts or start."""
    if found != fingerprint:
        raise TrainingError(f"{path}: made with other pictures, texts or start. Pass another output folder, or --overwrite to start again.")
