"""train(): from pictures with texts to a checkpoint.

OUTPUT becomes a checkpoint that `coca_model.load` reads. `OUTPUT/training` holds the recipe, the log, the curves, the list of what
was skipped, and the result. Until the run is finished, it also holds the last snapshot and, unless `work` is given, the feature cache.
"""

import json
import shutil
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

from coca_model.checkpoints.find import find_checkpoint
from coca_model.machine import use_cpus
from media.hashing import sha256_of_file
from training.cache.files import lock
from training.errors import TrainingError
from training.examples.example import Examples
from training.examples.hashes import key_of
from training.examples.select import Selection, select_examples
from training.objectives.registry import check_objectives
from training.outputs.checkpointer import Checkpointer
from training.outputs.held_out import write_held_out
from training.outputs.result import Trained, read_result, write_result
from training.outputs.run_log import write_skipped
from training.outputs.snapshot import Snapshot, read_snapshot
from training.prepare.materials import Materials, Note, prepare
from training.prepare.new_model import SCRATCH
from training.ranks import ALONE, Ranks
from training.recipe import Recipe, as_table, difference, fit
from training.steps.optimiser import averaged
from training.steps.phase_loop import PhaseLoop
from training.stopping import stops_between_steps


def train(
    data: Examples,
    sentences: Sequence[str],
    recipe: Recipe,
    output: Path,
    *,
    ranks: Ranks = ALONE,
    work: Path | None = None,
    note: Note = lambda *_: None,
    overwrite: bool = False,
    snapshot_seconds: float = 120.0,
) -> Trained:
    """Train by a recipe. A run that was stopped resumes if recipe and data are the same.

    Args:
        sentences: texts without pictures.
        work: the folder of the feature cache. Default: inside `output`.
        note: called with the name of the work, how much of it is done, and the total.
        overwrite: start again, whatever `output` contains.
        snapshot_seconds: time between snapshots. A snapshot is four times as large as the model in float32.

    Raises:
        TrainingError: the data or the recipe cannot be used, or `output` holds another run.
        CheckpointError: the recipe's start is not a checkpoint.
    """
    use_cpus()
    check_objectives(recipe)
    _check_output(output, recipe)
    selection = select_examples(data, recipe, ranks)
    examples = selection.examples
    recipe = fit(recipe, sum(example.split == "train" and bool(example.texts) for example in examples), ranks.count)
    folder = output / "training"
    with lock(folder / "lock") if ranks.leads else nullcontext():
        fingerprint = _fingerprint(recipe, selection, sentences)
        if overwrite and ranks.leads:
            for old in ("result.json", "snapshot.pt"):
                (folder / old).unlink(missing_ok=True)
        ranks.wait()
        _check_recipe(folder, recipe)
        if finished := read_result(output, fingerprint):
            _clear(folder, ranks)
            return finished
        snapshot = read_snapshot(folder / "snapshot.pt", fingerprint)
        if not ranks.leads:
            ranks.wait()  # until the leading rank has filled the cache
        cache = work or folder / "kept"
        materials = prepare(examples, sentences, recipe, folder=cache, device=ranks.device, note=note, pictures=selection.pictures)
        if ranks.leads:
            ranks.wait()
        checkpointer = Checkpointer(recipe, materials, output, fingerprint, ranks=ranks, snapshot_seconds=snapshot_seconds)
        steps = _run(recipe, materials, checkpointer, snapshot, ranks=ranks, note=note)
        has_test = ranks.leads and any(example.split == "test" for example in examples)
        unwritten = write_held_out(examples, folder / "held-out") if has_test else []
        skipped = [*selection.skipped, *materials.skipped, *checkpointer.unreadable.values(), *unwritten]
        trained = Trained(output, **checkpointer.result(), steps=steps, skipped=skipped)
        if ranks.leads:
            trained = replace(trained, skipped=write_skipped(folder / "skipped.csv", skipped))
            write_result(trained, fingerprint)
        _clear(folder, ranks)
        return trained


def _run(recipe: Recipe, materials: Materials, checkpointer: Checkpointer, snapshot: Snapshot | None, *, ranks: Ranks, note: Note) -> int:
    """Run the phases, from the snapshot if there is one. Returns how many steps were taken."""
    average = averaged(materials.model)
    phase, step = (snapshot.phase, snapshot.step) if snapshot else (0, 0)
    checkpointer.begin(phase, step, snapshot.unreadable if snapshot else ())
    if snapshot:
        materials.model.load_state_dict(snapshot.states["model"])
        average.load_state_dict(snapshot.states["average"])
    elif not recipe.start.startswith(SCRATCH):
        checkpointer.validate(average, recipe.phases[0], 0)  # so that a run that only makes the model worse keeps the start
    taken, models = 0, {"model": materials.model, "average": average}
    with stops_between_steps() as stopped:
        for number in range(phase, len(recipe.phases)):
            loop = PhaseLoop(number, recipe, materials, average, ranks)
            start = step if number == phase else 0
            if start == 0:
                average.n_averaged.zero_()  # each phase soon forgets the weights that it began with
            if snapshot and start:  # a snapshot between two phases has the optimiser of the earlier one
                loop.load(snapshot.states)
                note(f"{recipe.phases[number].name} steps", start, recipe.phases[number].steps)
            for done, costs in loop.steps(start):
                checkpointer.after_step(loop, number, done, costs, models, stopping=stopped)
                if stopped():
                    raise KeyboardInterrupt
                taken += 1
                note(f"{recipe.phases[number].name} steps", done, recipe.phases[number].steps)
    return taken


def _check_output(output: Path, recipe: Recipe) -> None:
    """Raises TrainingError if the run would overwrite the checkpoint that it starts from."""
    if not recipe.start.startswith(SCRATCH) and find_checkpoint(recipe.start).weights.resolve().parent == output.resolve():
        raise TrainingError(f"{output}: the run starts from this checkpoint and would overwrite it. Choose another --output.")


def _check_recipe(folder: Path, recipe: Recipe) -> None:
    """Raises TrainingError, with a setting that differs, if `folder` holds a run with another recipe."""
    if (folder / "result.json").exists() or (folder / "snapshot.pt").exists():
        with suppress(OSError, ValueError):  # if recipe.json is lost or damaged, only the fingerprint is checked
            old = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
            if differs := difference(old, as_table(recipe)):
                raise TrainingError(f"{folder}: made with {differs}. Pass another output folder, or --overwrite to start again.")


def _fingerprint(recipe: Recipe, selection: Selection, sentences: Sequence[str]) -> str:
    """Identifies recipe, start, pictures and texts. Raises CheckpointError if the start is not a checkpoint."""
    start = "" if recipe.start.startswith(SCRATCH) else sha256_of_file(find_checkpoint(recipe.start).weights)
    about = [(one.name, one.split, one.texts) for one in selection.examples]
    return key_of([recipe.fingerprint(), start, about, list(sentences), selection.pictures])


def _clear(folder: Path, ranks: Ranks) -> None:
    """Remove the large files that only an unfinished run needs."""
    if ranks.leads:
        for file in ("snapshot.pt", "lock"):
            (folder / file).unlink(missing_ok=True)
        shutil.rmtree(folder / "kept", ignore_errors=True)
