"""What a training leaves behind: its log and curves, the best weights as a checkpoint, and snapshots to go on from."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from coca_model.checkpoint import save_checkpoint
from coca_model.coca import CoCa
from coca_model.tokenizer import Tokenizer
from training.errors import TrainingError
from training.examples.example import Skipped
from training.outputs.curves import draw_curves
from training.outputs.run_log import PLACE, Diary
from training.outputs.snapshot import Snapshot, save_snapshot
from training.outputs.validation import LOG_LOSS, held_out_pictures
from training.prepare.materials import Materials
from training.ranks import Ranks
from training.recipe import Phase, Recipe, as_table
from training.steps.phase_loop import PhaseLoop, precision

_SHOWN = 10  # steps between two lines of losses; the first and the last have one too


class Keeper:
    """Writes into `output` what the first rank sees; the other ranks keep nothing.

    Attributes:
        held_out: how many pictures are; candidates: among how many they are looked for.
        unread: what could not be read so far, by name.
    """

    def __init__(
        self, recipe: Recipe, materials: Materials, output: Path, fingerprint: str, *, ranks: Ranks, snapshot_seconds: float
    ) -> None:
        self._recipe, self._materials, self._output, self._fingerprint, self._ranks = recipe, materials, output, fingerprint, ranks
        self._folder = output / "training"
        self._diary = Diary(self._folder / "log.jsonl")
        self._validation, unread = held_out_pictures(materials, ranks.device)
        self.unread = {one.name: one for one in unread}
        self.held_out, self.candidates = (0, 0) if self._validation is None else (self._validation.count, self._validation.candidates)
        self._every, self._saved = snapshot_seconds, time.monotonic()

    def begin(self, phase: int, step: int, unread: Sequence[tuple[str, str]] = ()) -> None:
        """Begin, or go on from a step of a phase that an earlier run reached, by when it had met what is `unread`."""
        self.unread |= {name: Skipped(name, reason) for name, reason in unread}
        if self._ranks.leads:
            (self._folder / "recipe.json").write_text(json.dumps(as_table(self._recipe), indent=2) + "\n", encoding="utf-8")
            self._diary.begin([one.name for one in self._recipe.phases], phase, step)

    def keep(
        self,
        loop: PhaseLoop,
        number: int,
        done: int,
        costs: Mapping[str, float],
        models: Mapping[str, nn.Module],
        *,
        now: Callable[[], bool],
    ) -> None:
        """After a step: a line of the log, a validation and a snapshot, each when its time has come, or the last where `now()`.

        Weights that are kept are in a snapshot next: a training that went on from before them could come to others, and its log
        would not know whose weights the checkpoint has.
        """
        if not self._ranks.leads:
            return
        phase, last, kept = loop.phase, done == loop.phase.steps, False
        self.unread |= loop.unread
        if done % _SHOWN == 0 or done == 1 or last:
            self._diary.write("step", phase.name, done, {name: round(value, 4) for name, value in costs.items()})
        if last or (phase.batch and done % (self._recipe.validate_every or max(1, phase.steps // 5)) == 0):
            kept = self.validate(cast("AveragedModel", models["average"]), phase, done)
        if last or kept or now() or time.monotonic() - self._saved > self._every:
            at = (number + 1, 0) if last else (number, done)
            states = {name: module.state_dict() for name, module in models.items()} | loop.states()
            unread = [(one.name, one.reason) for one in self.unread.values()]
            save_snapshot(self._folder / "snapshot.pt", Snapshot(self._fingerprint, *at, states, unread))
            self._saved = time.monotonic()

    def validate(self, average: AveragedModel, phase: Phase, step: int) -> bool:
        """Measure the averaged weights, and keep them if they are the best so far; what has no measure is kept as it comes.

        Returns:
            Whether they were kept.
        """
        if not self._ranks.leads:
            return False
        model, device, found = cast("CoCa", average.module), self._ranks.device, dict[str, float]()
        if self._validation is not None:
            found = dict(self._validation(model, self._materials.corpus, precision=precision(device), device=device))
            self._diary.write("validation", phase.name, step, found)
        before = self._diary.kept()
        better = not found or before is None or _badness(found) < _badness(before)
        try:
            if better:
                _save(self._output, model, self._materials.tokenizer)
                self._diary.write("kept", phase.name, step)
        finally:  # the curves show a training that diverged, too
            draw_curves(self._diary.lines, [(one.name, one.steps) for one in self._recipe.phases], self._folder / "curves.png")
        return better

    def result(self) -> dict[str, Any]:
        """What came of it, as the fields of `Trained` that are written down."""
        validated = [line for line in self._diary.lines if line["kind"] == "validation"]
        kept = self._diary.kept() or {"step": 0}
        best = kept if kept["step"] else min((line for line in validated if line["step"]), key=_badness, default=kept)
        before = next((line for line in validated if line["step"] == 0), {})
        measured, start = ({name: value for name, value in line.items() if name not in PLACE} for line in (best, before))
        counts = {"held_out": self.held_out, "candidates": self.candidates}
        return {"measured": measured, "before": start, "step": best["step"], "kept": bool(kept["step"]), **counts}


def _badness(measured: Mapping[str, Any]) -> float:
    """The log loss of both ways; infinite of what was not measured, or diverged."""
    losses = [value for name, value in measured.items() if name.endswith(LOG_LOSS)]
    return sum(losses) if losses and all(map(math.isfinite, losses)) else math.inf


def _save(folder: Path, model: CoCa, tokenizer: Tokenizer) -> None:
    """Write the checkpoint. Raises TrainingError where it cannot be, or where a weight is larger than float16 holds."""
    for name, value in model.state_dict().items():
        if not bool((value.abs() < torch.finfo(torch.float16).max).all()):
            raise TrainingError(f"{name} is not finite, or too large for a checkpoint. The training diverged; lower the learning rate.")
    try:
        save_checkpoint(folder, model, tokenizer)
    except OSError as error:
        raise TrainingError(f"{folder}: the checkpoint cannot be written ({error.strerror}). Choose a folder with room.") from error
