"""train(): from pictures with texts to a checkpoint. Reads, prepares, runs the phases of the recipe, validates, keeps the best.

OUTPUT becomes a checkpoint that `coca_model.load` takes. Beside it, `OUTPUT/training` holds the recipe, the log, the curves, what was
left out, and the result. Until all is done a snapshot to go on from lies there too, and what the frozen units made of the pictures,
unless `work` names another folder for it.
"""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

from coca_model.checkpoint import sha256_of
from coca_model.find_checkpoint import find_checkpoint
from coca_model.machine import use_cpus
from training.batches.batches import check_divides
from training.cache.files import hash_of_pictures, hashes_of_pictures, hold, key_of
from training.errors import TrainingError
from training.examples.example import MOST_VALIDATED, Example, Examples, hold_out, merge
from training.objectives.registry import check_objectives
from training.outputs.checkpointer import Keeper
from training.outputs.held_out import write_held_out
from training.outputs.result import Trained, read_result, write_result
from training.outputs.run_log import write_skipped
from training.outputs.snapshot import Snapshot, read_snapshot
from training.prepare.materials import Materials, Note, prepare
from training.prepare.new_model import SCRATCH
from training.ranks import ALONE, Ranks
from training.recipe import Recipe, as_table, difference
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
    """Train by a recipe. Where `output` holds a training by the same recipe on the same data that was stopped, go on from there.

    Args:
        note: called with what is done, how much of it is, and how much there is.
        overwrite: begin again, whatever `output` holds.
        snapshot_seconds: how much may be lost when it is killed; a snapshot has four times the size of the model in float32.

    Raises:
        TrainingError: the data or the recipe cannot be used, or `output` holds another training.
        CheckpointError: the recipe's start is no checkpoint.
    """
    use_cpus()
    check_objectives(recipe)
    _refuse_start(output, recipe)
    data = _drawn(data, recipe)
    hashes = ranks.first(lambda: hashes_of_pictures(data.examples))
    merged, hashes, same = merge(data.examples, hashes)
    examples, pictures = _split(merged, recipe), hash_of_pictures(merged, hashes)
    recipe, folder = _fitted(recipe, examples, ranks), output / "training"
    with hold(folder / "lock") if ranks.leads else nullcontext():
        about = [(one.name, one.split, one.texts) for one in examples]
        fingerprint = key_of([recipe.fingerprint(), _hash_of_start(recipe), about, list(sentences), pictures])
        if overwrite and ranks.leads:
            for old in ("result.json", "snapshot.pt"):
                (folder / old).unlink(missing_ok=True)
        ranks.wait()
        _refuse_other_recipe(folder, recipe)
        if finished := read_result(output, fingerprint):
            _clear(folder, ranks)
            return finished
        found = read_snapshot(folder / "snapshot.pt", fingerprint)
        if not ranks.leads:
            ranks.wait()  # the first computes and keeps what the others then find
        materials = prepare(examples, sentences, recipe, folder=work or folder / "kept", device=ranks.device, note=note, pictures=pictures)
        if ranks.leads:
            ranks.wait()
        keeper = Keeper(recipe, materials, output, fingerprint, ranks=ranks, snapshot_seconds=snapshot_seconds)
        steps = _run(recipe, materials, keeper, found, ranks=ranks, note=note)
        apart = ranks.leads and any(example.split == "test" for example in examples)
        unwritten = write_held_out(examples, folder / "held-out") if apart else []
        skipped = [*data.skipped, *same, *materials.skipped, *keeper.unread.values(), *unwritten]
        trained = Trained(output, **keeper.result(), steps=steps, skipped=skipped)
        if ranks.leads:
            trained = dataclasses.replace(trained, skipped=write_skipped(folder / "skipped.csv", skipped))
            write_result(trained, fingerprint)
        _clear(folder, ranks)
        return trained


def _clear(folder: Path, ranks: Ranks) -> None:
    """Remove what is of use only to a training that is not finished, and large."""
    if ranks.leads:
        for file in ("snapshot.pt", "lock"):
            (folder / file).unlink(missing_ok=True)
        shutil.rmtree(folder / "kept", ignore_errors=True)


def _run(recipe: Recipe, materials: Materials, keeper: Keeper, found: Snapshot | None, *, ranks: Ranks, note: Note) -> int:
    """The phases, from where `found` left them. Returns how many steps were taken."""
    average = averaged(materials.model)
    phase, step = (found.phase, found.step) if found else (0, 0)
    keeper.begin(phase, step, found.unread if found else ())
    if found:
        materials.model.load_state_dict(found.states["model"])
        average.load_state_dict(found.states["average"])
    elif not recipe.start.startswith(SCRATCH):
        keeper.validate(average, recipe.phases[0], 0)  # so that a training that makes things worse leaves the start
    taken, models = 0, {"model": materials.model, "average": average}
    with stops_between_steps() as stopped:
        for number in range(phase, len(recipe.phases)):
            loop = PhaseLoop(number, recipe, materials, average, ranks)
            start = step if number == phase else 0
            if start == 0:
                average.n_averaged.zero_()  # what a phase begins with is soon forgotten, as at the beginning of the first
            if found and start:  # before the first step a snapshot has the optimiser of the phase before
                loop.load(found.states)
                note(f"{recipe.phases[number].name} steps", start, recipe.phases[number].steps)
            for done, costs in loop.steps(start):
                keeper.keep(loop, number, done, costs, models, now=stopped)
                if stopped():
                    raise KeyboardInterrupt
                taken += 1
                note(f"{recipe.phases[number].name} steps", done, recipe.phases[number].steps)
    return taken


def _drawn(data: Examples, recipe: Recipe) -> Examples:
    """The data without the sources that the recipe leaves out."""
    return Examples(tuple(example for example in data.examples if recipe.source(example.source).share != 0), data.skipped)


def _refuse_start(output: Path, recipe: Recipe) -> None:
    """Raises TrainingError where the output is what the training starts from."""
    if not recipe.start.startswith(SCRATCH) and find_checkpoint(recipe.start).weights.resolve().parent == output.resolve():
        raise TrainingError(f"{output}: is what the training starts from, and would be overwritten. Choose another --output.")


def _refuse_other_recipe(folder: Path, recipe: Recipe) -> None:
    """Raises TrainingError, with a setting that differs, where what lies in `folder` is of another recipe."""
    if (folder / "result.json").exists() or (folder / "snapshot.pt").exists():
        with suppress(OSError, ValueError):  # lost or damaged: then the fingerprint alone says whether it is another
            there = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
            if told := difference(there, as_table(recipe)):
                raise TrainingError(f"{folder}: of {told}. Pass another output folder, or --overwrite to begin again.")


def _hash_of_start(recipe: Recipe) -> str:
    """Of the weights of the checkpoint that the recipe starts from; empty from scratch. Raises CheckpointError."""
    return "" if recipe.start.startswith(SCRATCH) else sha256_of(find_checkpoint(recipe.start).weights)


def _split(examples: Sequence[Example], recipe: Recipe) -> tuple[Example, ...]:
    """The examples, some held out for validation ("val") and some from everything ("test"), as the recipe says."""
    apart: dict[str, str] = {}
    for source in {example.source for example in examples}:
        of_source = [dataclasses.replace(example, split="train") for example in examples if example.source == source]
        kept_back = hold_out(of_source, share=recipe.source(source).held_out)
        apart |= {example.name: "test" for example in kept_back if example.split == "val"}
    rest = hold_out([example for example in examples if example.name not in apart], share=recipe.held_out, most=MOST_VALIDATED)
    split = apart | {example.name: example.split for example in rest}
    return tuple(dataclasses.replace(example, split=split[example.name]) for example in examples)


def _fitted(recipe: Recipe, examples: Sequence[Example], ranks: Ranks) -> Recipe:
    """The recipe with no batch larger than the pictures there are, and its epochs counted in steps."""
    there = sum(example.split == "train" and bool(example.texts) for example in examples)
    if there < ranks.count and any(phase.batch for phase in recipe.phases):
        raise TrainingError(
            f"Too few pictures to train on ({there}, for {ranks.count} ranks). Give pictures with texts, of the split train."
        )
    phases = []
    for phase in recipe.phases:
        batch = min(phase.batch, there // ranks.count * ranks.count)
        steps = phase.steps or max(1, round(phase.epochs * there / max(1, batch)))
        phases.append(dataclasses.replace(phase, batch=batch, steps=steps))
        check_divides(phases[-1], ranks)
    return dataclasses.replace(recipe, phases=tuple(phases))
