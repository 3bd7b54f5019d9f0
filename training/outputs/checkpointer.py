"""Writes the outputs of a run: its log and curves, the best weights as a checkpoint, and snapshots to resume from."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from coca_model.architecture.coca import CoCa
from coca_model.checkpoints.read_write import save_checkpoint
from training.errors import TrainingError
from training.examples.example import Skipped
from training.outputs.resume import Snapshot, save_snapshot
from training.outputs.run_log import LINE_KEYS, RunLog, draw_curves
from training.outputs.validation import LOG_LOSS, Validation
from training.prepare.materials import Materials
from training.ranks import Ranks
from training.recipe import Phase, Recipe, as_table
from training.steps.phase_loop import PhaseLoop, averaged, precision

_SHOW_EVERY = 10  # steps between two lines of losses; the first and the last step have one too


class Checkpointer:
    """Writes into `output` on the leading rank. The other ranks write nothing.

    `average` is the moving average of the model's weights, which is validated and saved. `unreadable` has the pictures that could
    not be read so far, by name.
    """

    def __init__(
        self, recipe: Recipe, materials: Materials, output: Path, *, ranks: Ranks, fingerprint: str, snapshot_seconds: float
    ) -> None:
        self._recipe, self._materials, self._output, self._ranks, self._fingerprint = recipe, materials, output, ranks, fingerprint
        self.average = averaged(materials.model)
        self._log, self._validation = RunLog(output / "training" / "log.jsonl"), Validation(materials, ranks.device)
        self.unreadable = {one.name: one for one in self._validation.skipped}
        self._snapshot_seconds, self._saved = snapshot_seconds, time.monotonic()

    def begin(self, phase: int, step: int, unreadable: Sequence[tuple[str, str]] = ()) -> None:
        """Start the outputs, or resume them from a step of a phase, with the pictures that were `unreadable` until then."""
        self.unreadable |= {name: Skipped(name, reason) for name, reason in unreadable}
        if self._ranks.leads:
            table = json.dumps(as_table(self._recipe), indent=2)
            (self._output / "training" / "recipe.json").write_text(table + "\n", encoding="utf-8")
            self._log.begin([one.name for one in self._recipe.phases], phase, step)

    def after_step(self, loop: PhaseLoop, done: int, costs: Mapping[str, float], *, stopping: Callable[[], bool]) -> None:
        """Write a log line, validate, and save a snapshot, each if it is due. All are due at the last step of a phase.

        Takes a snapshot whenever weights are saved or the run is `stopping`. Otherwise a resumed run might save other weights
        than its log names.
        """
        if not self._ranks.leads:
            return
        phase, last, saved = loop.phase, done == loop.phase.steps, False
        self.unreadable |= loop.unreadable
        if done % _SHOW_EVERY == 0 or done == 1 or last:
            self._log.write("step", phase.name, done, {name: round(value, 4) for name, value in costs.items()})
        if last or (phase.batch and done % (self._recipe.validate_every or max(1, phase.steps // 5)) == 0):
            saved = self.validate(phase, done)
        if last or saved or stopping() or time.monotonic() - self._saved > self._snapshot_seconds:
            next_step = (loop.number + 1, 0) if last else (loop.number, done)
            models = {"model": self._materials.model.state_dict(), "average": self.average.state_dict()}
            unreadable = [(one.name, one.reason) for one in self.unreadable.values()]
            snapshot = Snapshot(self._fingerprint, *next_step, models | loop.states(), unreadable)
            save_snapshot(self._output / "training" / "snapshot.pt", snapshot)
            self._saved = time.monotonic()

    def validate(self, phase: Phase, step: int) -> bool:
        """Save the averaged weights if the phase keeps them. Returns whether they were saved.

        It keeps the best so far, all if no pictures are held out, or those of its last step.
        """
        if not self._ranks.leads:
            return False
        measured = self._validation(cast("CoCa", self.average.module), precision(self._ranks.device))
        if measured:
            self._log.write("validation", phase.name, step, measured)
        before = self._log.kept()
        if phase.keep == "last" and step:
            better = step == phase.steps
        else:
            better = not measured or before is None or _log_loss(measured) < _log_loss(before)
        try:
            if better:
                self._save(cast("CoCa", self.average.module))
                self._log.write("kept", phase.name, step)
        finally:  # a diverged run has curves too
            phases = [(one.name, one.steps) for one in self._recipe.phases]
            draw_curves(self._log.lines, phases, self._output / "training" / "curves.png")
        return better

    def result(self) -> dict[str, Any]:
        """The fields of `Trained` that are written to result.json."""
        validated = [line for line in self._log.lines if line["kind"] == "validation"]
        kept = self._log.kept() or {"step": 0}
        best = kept if kept["step"] else min((line for line in validated if line["step"]), key=_log_loss, default=kept)
        before = next((line for line in validated if line["step"] == 0), {})
        measured, start = ({name: value for name, value in line.items() if name not in LINE_KEYS} for line in (best, before))
        counts = {"held_out": self._validation.count, "candidates": self._validation.candidates}
        return {"measured": measured, "before": start, "step": best["step"], "kept": bool(kept["step"]), **counts}

    def _save(self, model: CoCa) -> None:
        """Write the checkpoint. Raises TrainingError if a weight is too large for float16."""
        for name, value in model.state_dict().items():
            if not bool((value.abs() < torch.finfo(torch.float16).max).all()):
                raise TrainingError(f"{name} is not finite, or too large for a checkpoint. The training diverged; lower the learning rate.")
        save_checkpoint(self._output, model, self._materials.tokenizer)


def _log_loss(measured: Mapping[str, Any]) -> float:
    """The sum of the log losses of both directions; infinite if not measured, or diverged."""
    losses = [value for name, value in measured.items() if name.endswith(LOG_LOSS)]
    return sum(losses) if losses and all(map(math.isfinite, losses)) else math.inf
