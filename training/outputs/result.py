"""The result of a run, for the caller and for `result.json`, by which a later run knows that this one is finished."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.cache.files import write_json
from training.errors import TrainingError
from training.examples.example import Skipped
from training.outputs.run_log import read_skipped
from training.outputs.snapshot import check_fingerprint


@dataclass(frozen=True)
class Trained:
    """The result of a run.

    Attributes:
        output: the folder of the checkpoint.
        measured: recall and log loss of the best weights on the held-out pictures, see `Validation`; empty if none were held out.
        before: the same for the start; empty from scratch.
        step: the step of its phase after which the best weights were found.
        kept: whether those weights are the checkpoint. Otherwise it is the start, which was no worse.
        held_out: the number of held-out pictures.
        candidates: the number of pictures they were searched among, with training pictures if few are held out.
        steps: how many steps this call took; 0 if the run was finished before.
        skipped: what was not used, in the order of names, as in `OUTPUT/training/skipped.csv`.
    """

    output: Path
    measured: Mapping[str, float]
    before: Mapping[str, float]
    step: int
    kept: bool
    held_out: int
    candidates: int
    steps: int
    skipped: Sequence[Skipped]


_WRITTEN = ("measured", "before", "step", "kept", "held_out", "candidates")


def write_result(trained: Trained, fingerprint: str) -> None:
    """Write `OUTPUT/training/result.json` atomically."""
    write_json(_path(trained.output), {"fingerprint": fingerprint, **{name: getattr(trained, name) for name in _WRITTEN}})


def read_result(output: Path, fingerprint: str) -> Trained | None:
    """The result of a finished run into `output`, or None if there is none.

    Raises:
        TrainingError: it is damaged, or belongs to another run.
    """
    path = _path(output)
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        skipped = read_skipped(path.with_name("skipped.csv"))
        trained = Trained(output, **{name: found[name] for name in _WRITTEN}, steps=0, skipped=skipped)
        check_fingerprint(path, found["fingerprint"], fingerprint)
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path}: damaged ({error}). Remove it to start again.") from error
    return trained


def _path(output: Path) -> Path:
    return output / "training" / "result.json"
