"""train(): from pictures with texts to a checkpoint.

OUTPUT becomes a checkpoint that `coca_model.load` reads. `OUTPUT/training` holds the recipe, the log, the curves, the list of what
was skipped, and the result. Until the run is finished, it also holds the last snapshot and, unless `work` is given, the feature cache.
"""

import json
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

from coca_model.checkpoints.find import find_checkpoint
from coca_model.machine import use_cpus
from media.hashing import sha256_of_file
from training.cache.files import lock
from training.errors import TrainingError
from training.examples.example import Examples
from training.examples.select import key_of, select_examples
from training.objectives.registry import check_objectives
from training.outputs.checkpointer import Checkpointer
from training.outputs.held_out import write_held_out
from training.outputs.resume import Snapshot, Trained, read_result, read_snapshot, write_result
from training.outputs.run_log import write_skipped
from training.prepare.materials import SCRATCH, Materials, Note, prepare
from training.ranks import ALONE, Ranks
from training.recipe import Recipe, as_table, difference, fit
from training.steps.phase_loop import PhaseLoop


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
    start = None if recipe.start.startswith(SCRATCH) else find_checkpoint(recipe.start).weights
    if start and start.resolve().parent == output.resolve():
        raise TrainingError(f"{output}: the run starts from this checkpoint and would overwrite it. Choose another --output.")
    data, pictures = select_examples(data, recipe, ranks)
    examples = data.examples
    recipe = fit(recipe, sum(example.split == "train" and bool(example.texts) for example in examples), ranks.count)
    folder = output / "training"
    with lock(folder / "lock") if ranks.leads else nullcontext():
        about = [(one.name, one.split, one.texts) for one in examples]
        fingerprint = key_of([recipe.fingerprint(), sha256_of_file(start) if start else "", about, list(sentences), pictures])
        if overwrite and ranks.leads:
            (folder / "result.json").unlink(missing_ok=True)
            (folder / "snapshot.pt").unlink(missing_ok=True)
        ranks.wait()
        _check_recipe(folder, recipe)
        if finished := read_result(output, fingerprint):
            _clear(folder, ranks)
            return finished
        snapshot = read_snapshot(folder / "snapshot.pt", fingerprint)
        if not ranks.leads:
            ranks.wait()  # until the leading rank has filled the cache
        cache = work or folder / "kept"
        materials = prepare(examples, sentences, recipe, folder=cache, device=ranks.device, pictures=pictures, note=note)
        if ranks.leads:
            ranks.wait()
        checkpointer = Checkpointer(recipe, materials, output, ranks=ranks, fingerprint=fingerprint, snapshot_seconds=snapshot_seconds)
        steps = _run(recipe, materials, checkpointer, snapshot, ranks=ranks, note=note)
        skipped = [*data.skipped, *materials.skipped, *checkpointer.unreadable.values()]
        trained = Trained(output, **checkpointer.result(), steps=steps, skipped=skipped)
        if ranks.leads:
            if any(example.split == "test" for example in examples):
                skipped += write_held_out(examples, folder / "held-out")
            trained = replace(trained, skipped=write_skipped(folder / "skipped.csv", skipped))
            write_result(trained, fingerprint)
        _clear(folder, ranks)
        return trained


def _run(recipe: Recipe, materials: Materials, checkpointer: Checkpointer, snapshot: Snapshot | None, *, ranks: Ranks, note: Note) -> int:
    """Run the phases, from the snapshot if there is one. Returns how many steps were taken."""
    first, step = (snapshot.phase, snapshot.step) if snapshot else (0, 0)
    checkpointer.begin(first, step, snapshot.unreadable if snapshot else ())
    if snapshot:
        materials.model.load_state_dict(snapshot.states["model"])
        checkpointer.average.load_state_dict(snapshot.states["average"])
    elif not recipe.start.startswith(SCRATCH):
        checkpointer.validate(recipe.phases[0], 0)  # so that a run that only makes the model worse keeps the start
    taken = 0
    with _stops_between_steps() as stopped:
        for number, phase in list(enumerate(recipe.phases))[first:]:
            start = step if number == first else 0
            if start == 0 and number > 0:  # a phase begins with the averaged weights of the one before, which are better than its last ones
                materials.model.load_state_dict(checkpointer.average.module.state_dict())
            loop = PhaseLoop(number, recipe, materials, checkpointer.average, ranks)
            if start == 0:
                checkpointer.average.n_averaged.zero_()  # each phase soon forgets the weights that it began with
            elif snapshot:  # a snapshot between two phases has the optimiser of the earlier one
                loop.load(snapshot.states)
                note(f"{phase.name} steps", start, phase.steps)
            for done, costs in loop.steps(start):
                checkpointer.after_step(loop, done, costs, stopping=stopped)
                if stopped():
                    raise KeyboardInterrupt
                taken += 1
                note(f"{phase.name} steps", done, phase.steps)
    return taken


@contextmanager
def _stops_between_steps() -> Iterator[Callable[[], bool]]:
    """Yields a function that tells whether Ctrl-C was pressed, so that progress can be saved. The second Ctrl-C stops at once, as usual.

    Outside the main thread, where signals cannot be handled, nothing changes.
    """
    asked, before = threading.Event(), signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def note(*_: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _check_recipe(folder: Path, recipe: Recipe) -> None:
    """Raises TrainingError, with a setting that differs, if `folder` holds a run with another recipe."""
    if (folder / "result.json").exists() or (folder / "snapshot.pt").exists():
        with suppress(OSError, ValueError):  # if recipe.json is lost or damaged, only the fingerprint is checked
            old = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
            if differs := difference(old, as_table(recipe)):
                raise TrainingError(f"{folder}: made with {differs}. Pass another output folder, or --overwrite to start again.")


def _clear(folder: Path, ranks: Ranks) -> None:
    """Remove the large files that only an unfinished run needs."""
    if ranks.leads:
        (folder / "snapshot.pt").unlink(missing_ok=True)
        (folder / "lock").unlink(missing_ok=True)
        shutil.rmtree(folder / "kept", ignore_errors=True)
