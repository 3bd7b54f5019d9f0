"""What came of a training: given to the caller, and written down, so that one that is finished is known when it is started again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.cache.files import refuse_other, write_json
from training.errors import TrainingError
from training.examples.example import Skipped
from training.outputs.run_log import read_skipped


@dataclass(frozen=True)
class Trained:
    """What came of a training.

    Attributes:
        output: the folder of the checkpoint.
        measured: on the held-out pictures, as `Validation` has it, of the best weights of the training; empty where none was held out.
        before: of the start; empty from scratch.
        step: of its phase, after which the best weights of the training were met.
        kept: whether they are the checkpoint; otherwise it is the start, which was no worse.
        held_out: how many pictures those are.
        candidates: among how many they were looked for; of the training where they are few.
        steps: how many steps this call took, none where the training was finished before.
        skipped: what was left out, in the order of names; `OUTPUT/training/skipped.csv` has the same.
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
    """Write `OUTPUT/training/result.json`, whole or not at all."""
    values = {name: getattr(trained, name) for name in _WRITTEN}
    write_json(_path(trained.output), {"fingerprint": fingerprint, **values})


def read_result(output: Path, fingerprint: str) -> Trained | None:
    """What a finished training into `output` came to, or None where none was finished.

    Raises:
        TrainingError: it is of another recipe, or damaged.
    """
    path = _path(output)
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        skipped = read_skipped(path.with_name("skipped.csv"))
        trained = Trained(output, **{name: found[name] for name in _WRITTEN}, steps=0, skipped=skipped)
        refuse_other(path, found["fingerprint"], fingerprint)
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path}: damaged ({error}). Remove it to begin again.") from error
    return trained


def _path(output: Path) -> Path:
    return output / "training" / "result.json"
