"""What a run leaves for a later one: snapshots to resume from, and the result, which says that the run is finished.

A snapshot holds everything that the next step depends on, except the data. The order of the data is a function of the seed and
the step (see `batches.py`), so the number of the step is enough.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from training.cache.files import save, write_json
from training.errors import TrainingError
from training.examples.example import Skipped
from training.outputs.run_log import read_skipped

_WRITTEN = ("measured", "before", "step", "kept", "held_out", "candidates")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Trained:
    """The result of a run."""

    output: Path  # the folder of the checkpoint
    measured: Mapping[str, float]  # recall and log loss of the saved weights, see `Validation`; empty if no pictures were held out
    before: Mapping[str, float]  # the same for the start; empty from scratch
    step: int  # the step of its phase whose weights were saved, or were the best
    kept: bool  # whether those weights are the checkpoint. Otherwise it is the start, which was no worse
    held_out: int  # the number of held-out pictures
    candidates: int  # the number of pictures they were searched among, with training pictures if few are held out
    steps: int  # how many steps this call took; 0 if the run was finished before
    skipped: Sequence[Skipped]  # what was not used, in the order of names, as in `OUTPUT/training/skipped.csv`


@dataclass(frozen=True)
class Snapshot:
    """The state before step `step` of phase `phase`."""

    fingerprint: str
    phase: int
    step: int
    states: Mapping[str, Any]  # the state dicts of model, average, optimizer, schedule and others, by name
    unreadable: Sequence[tuple[str, str]] = ()  # name and reason of each picture that could not be read so far


def write_result(trained: Trained, fingerprint: str) -> None:
    """Write `OUTPUT/training/result.json` atomically."""
    written = {name: getattr(trained, name) for name in _WRITTEN}
    write_json(trained.output / "training" / "result.json", {"fingerprint": fingerprint, **written})


def read_result(output: Path, fingerprint: str) -> Trained | None:
    """The result of a finished run into `output`, or None. Raises TrainingError if it is damaged, or belongs to another run."""

    def parse(path: Path) -> tuple[str, Trained]:
        found, skipped = json.loads(path.read_text(encoding="utf-8")), read_skipped(path.with_name("skipped.csv"))
        return found["fingerprint"], Trained(output, **{name: found[name] for name in _WRITTEN}, steps=0, skipped=skipped)

    return _read(output / "training" / "result.json", fingerprint, parse)


def save_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write a snapshot atomically."""
    save(path, {**vars(snapshot), "states": dict(snapshot.states)})


def read_snapshot(path: Path, fingerprint: str) -> Snapshot | None:
    """The snapshot of an earlier run, or None. Raises TrainingError if it is damaged, or belongs to another run."""

    def parse(path: Path) -> tuple[str, Snapshot]:
        snapshot = Snapshot(**torch.load(path, map_location="cpu", weights_only=True))
        return snapshot.fingerprint, snapshot

    return _read(path, fingerprint, parse)


def _read(path: Path, fingerprint: str, parse: Callable[[Path], tuple[str, Value]]) -> Value | None:
    """The value of a file whose parsed fingerprint is `fingerprint`, or None if there is no such file."""
    if not path.exists():
        return None
    try:
        found, value = parse(path)
    except Exception as error:  # a damaged archive raises nearly anything
        raise TrainingError(f"{path}: damaged ({error}). Remove it to start again.") from error
    if found != fingerprint:
        raise TrainingError(f"{path}: made with other pictures, texts or start. Pass another output folder, or --overwrite to start again.")
    return value
