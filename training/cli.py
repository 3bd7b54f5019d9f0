"""`coca-search train`."""

import errno
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from training.errors import TrainingError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_FEW = 100  # held-out pictures; from fewer, recall is only known to about 10 points
_UNCAPTIONED = "no caption: "  # often most pictures of a folder; an unreadable file is more important


def train(
    data: Annotated[
        list[Path], Argument(help="Pictures with texts: .parquet, WebDataset .tar, or a folder with captions.csv or .txt files.")
    ],
    output: Annotated[Path, Option("--output", "-o", help="The folder of the new checkpoint.")],
    recipe: Annotated[Path | None, Option(help="A TOML file with all settings of the training; see docs/training.md.")] = None,
    model: Annotated[
        str | None, Option(help='The start: a checkpoint, a model name on the hub, or "scratch".', show_default="the embedded model")
    ] = None,
    epochs: Annotated[float | None, Option(help="How often each picture is seen, unless the recipe sets steps.", show_default="20")] = None,
    batch: Annotated[int | None, Option(help="Pictures that are compared with each other in a step.", show_default="64")] = None,
    micro_batch: Annotated[
        int | None, Option(help="Pictures that go through the model at once. Lower it if memory is short.", show_default="the whole batch")
    ] = None,
    learning_rate: Annotated[
        float | None, Option(help="The highest learning rate. The rate rises to it, then falls to 0.", show_default="3e-5")
    ] = None,
    held_out: Annotated[
        float | None, Option(help="Share of the pictures for validation, if the data has no validation split.", show_default="0.1")
    ] = None,
    seed: Annotated[
        int | None, Option(help="Seed of the order of the data and, from scratch, of the initial weights.", show_default="0")
    ] = None,
    work: Annotated[
        Path | None, Option(help="Folder for the feature cache, which several runs can share. By default inside OUTPUT.")
    ] = None,
    device: Annotated[str | None, Option(help="A torch device. By default CUDA if available, otherwise the CPU.")] = None,
    snapshot_seconds: Annotated[float, Option(help="Seconds between snapshots. A killed run loses at most this much work.")] = 120.0,
    overwrite: Annotated[bool, Option(help="Start again, whatever OUTPUT contains.")] = False,
) -> None:
    """Train a model on pictures with texts. By default, fine-tunes the embedded model on your pictures.

    A stopped run resumes when you start it again. For several GPUs: torchrun --nproc-per-node N -m coca_search train ...
    """
    from evaluation.cli import progress_bars
    from training.examples.read import read_examples
    from training.ranks import join_ranks, leave_ranks
    from training.recipe import Recipe, changed, read_recipe
    from training.run import train as run

    settings: dict[str, Any] = {"start": model, "held_out": held_out, "seed": seed}
    of_phases: dict[str, Any] = {"epochs": epochs, "batch": batch, "micro_batch": micro_batch, "learning_rate": learning_rate}
    chosen = changed(read_recipe(recipe) if recipe else Recipe(), settings, of_phases)
    for folder in data:  # the next run would read the pictures of the output, such as curves.png
        if folder.is_dir() and output.resolve().is_relative_to(folder.resolve()):
            raise TrainingError(f"{output}: this folder is inside {folder}, among the pictures. Choose an --output outside of it.")
    examples, sentences = read_examples(data), _sentences(data, chosen.sentences)
    ranks = join_ranks(device)
    try:
        with progress_bars() as note:
            shown = note if ranks.leads else lambda *_: None
            options: dict[str, Any] = {"work": work, "overwrite": overwrite, "snapshot_seconds": snapshot_seconds}
            trained = run(examples, sentences, chosen, output, ranks=ranks, note=shown, **options)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise TrainingError(f"{error.filename or output}: cannot be written ({error.strerror}). Choose a folder with room.") from error
    finally:
        leave_ranks()
    if ranks.leads:
        _report(trained, chosen)


def _sentences(data: list[Path], name: str) -> list[str]:
    if not name:
        return []
    for folder in data:
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8").splitlines()
    raise TrainingError(f"{name}: the recipe's file of sentences is missing from {', '.join(map(str, data))}. Put it into one of them.")


def _report(trained: Any, recipe: Any) -> None:
    if not trained.steps:
        print("The training was already finished. Pass --overwrite to start again.")
    if trained.measured:
        among = f", searched among {trained.candidates}" if trained.candidates > trained.held_out else ""
        before = f"{'before':>9}" if trained.before else ""
        print(f"{f'{trained.held_out} held-out pictures{among}:':<48}{before}{f'step {trained.step}':>11}")
    for name, value in trained.measured.items():
        shown = "{:.2f}" if name.endswith("loss") else "{:.1f} %"
        before = f"{shown.format(trained.before[name]):>9}" if trained.before else ""
        print(f"  {name:<46}{before}{shown.format(value):>11}")
    if trained.before and trained.kept:
        why = "which the recipe keeps" if recipe.phases[-1].keep == "last" else "which have a lower log loss"
        print(f"The checkpoint has the weights of step {trained.step}, {why}.")
    elif trained.before:
        print("The checkpoint is the unchanged start, because no step has a lower log loss.")
    if 0 < trained.held_out < _FEW:
        print("With so few held-out pictures, a difference of some points may be chance.")
    if not trained.measured:
        why = "There are too few pictures to hold some out" if recipe.held_out else "No pictures were held out"
        print(f"{why}, so it is not known whether the model is better than its start.")
    folder = trained.output / "training"
    if trained.skipped:
        first = min(trained.skipped, key=lambda one: one.reason.startswith(_UNCAPTIONED))
        print(f"{len(trained.skipped)} skipped, the first: {first.name}: {first.reason}. All of them: {folder / 'skipped.csv'}")
    print(f"Checkpoint: {trained.output}   curves: {folder / 'curves.png'}")


def add_commands(app: typer.Typer) -> None:
    """Add the command of this package to the console command."""
    app.command()(train)
