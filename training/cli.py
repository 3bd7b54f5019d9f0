"""`coca-search train`."""

import errno
from pathlib import Path
from typing import Annotated, Any

import typer

from training.errors import TrainingError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_FEW = 100  # held-out pictures; of so many, recall is known to about 10 points


def train(
    data: Annotated[
        list[Path], typer.Argument(help="Pictures with texts: .parquet, WebDataset .tar, or a folder with captions.csv or .txt files.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder of the checkpoint that is made.")],
    recipe: Annotated[Path | None, typer.Option(help="A TOML file that says what is trained and how; see docs/training.md.")] = None,
    model: Annotated[
        str | None,
        typer.Option(help='What it begins with: a checkpoint or a name of the hub, or "scratch".', show_default="the model that ships"),
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(help="How often each picture is seen, where the recipe counts no steps.", show_default="20")
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Pictures that are compared with each other in a step.", show_default="64")] = None,
    micro_batch: Annotated[
        int | None, typer.Option(help="Pictures that go through the model at once, where memory is short.", show_default="all of the batch")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The highest; it rises first, then falls to 0.", show_default="3e-5")] = None,
    held_out: Annotated[
        float | None,
        typer.Option(help="Share of the pictures kept for validation, where the data has no split of its own.", show_default="0.1"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Another seed, another order and, from scratch, other weights.", show_default="0")
    ] = None,
    work: Annotated[
        Path | None, typer.Option(help="Where views are kept that other trainings may use too; by default inside OUTPUT.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="A torch device; CUDA where there is one, else the CPU.")] = None,
    snapshot_seconds: Annotated[float, typer.Option(help="How much may be lost when it is killed.")] = 120.0,
    overwrite: Annotated[bool, typer.Option(help="Begin again, whatever OUTPUT holds.")] = False,
) -> None:
    """Train a model on pictures with texts: by default, the one that ships, made better on yours.

    A run that was stopped goes on when it is started again. For several GPUs: torchrun --nproc-per-node N -m coca_search train ...
    """
    from evaluation.console import progress_bars
    from training.examples.read import read_examples
    from training.ranks import join_ranks, leave_ranks
    from training.recipe import Recipe, changed, read_recipe
    from training.run import train as run

    settings: dict[str, Any] = {"start": model, "held_out": held_out, "seed": seed}
    of_phases: dict[str, Any] = {"epochs": epochs, "batch": batch, "micro_batch": micro_batch, "learning_rate": learning_rate}
    chosen = changed(read_recipe(recipe) if recipe else Recipe(), settings, of_phases)
    _check_output(output, data)
    examples = read_examples(data)
    ranks = join_ranks(device)
    try:
        with progress_bars() as note:
            trained = run(
                examples,
                _sentences(data, chosen.sentences),
                chosen,
                output,
                ranks=ranks,
                work=work,
                note=note if ranks.leads else lambda *_: None,
                overwrite=overwrite,
                snapshot_seconds=snapshot_seconds,
            )
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise TrainingError(f"{error.filename or output}: cannot be written ({error.strerror}). Choose a folder with room.") from error
    finally:
        leave_ranks()
    if ranks.leads:
        _report(trained, chosen)


def _check_output(output: Path, data: list[Path]) -> None:
    """A checkpoint among the pictures would be read with them the next time. Raises TrainingError."""
    for folder in data:
        if folder.is_dir() and output.resolve().is_relative_to(folder.resolve()):
            raise TrainingError(f"{output}: lies in {folder}, among the pictures. Choose an --output beside it.")


def _sentences(data: list[Path], name: str) -> list[str]:
    if not name:
        return []
    for folder in data:
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8").splitlines()
    raise TrainingError(f"{name}: in none of {', '.join(map(str, data))}, where the recipe has its sentences.")


def _report(trained: Any, recipe: Any) -> None:
    """What was reached beside what the start reached, what is kept and why, and where the files are."""
    from training.outputs.validation import LOG_LOSS

    if not trained.steps:
        print("The training was finished before; --overwrite begins it again.")
    if trained.measured:
        among = f", looked for among {trained.candidates}" if trained.candidates > trained.held_out else ""
        title, step = f"{trained.held_out} held-out pictures{among}:", f"step {trained.step}"
        print(f"{title:<48}" + (f"{'before':>9}" if trained.before else "") + f"{step:>11}")
    for name, value in trained.measured.items():
        shown = "{:.2f}" if name.endswith(LOG_LOSS) else "{:.1f} %"
        before = f"{shown.format(trained.before[name]):>9}" if trained.before else ""
        print(f"  {name:<46}{before}{shown.format(value):>11}")
    if trained.before:
        print(f"Step {trained.step} is kept: it" if trained.kept else "The model is left as it was: no step", "has a lower log loss.")
    if 0 < trained.held_out < _FEW:
        print("So few pictures say little: some points up or down are chance.")
    if not trained.measured:
        few = "There are too few pictures to hold some out" if recipe.held_out else "No picture was held out"
        print(f"{few}: nothing says whether it is better than what it began with.")
    if trained.skipped:
        first, listed = min(trained.skipped, key=_is_uncaptioned), trained.output / "training" / "skipped.csv"
        print(f"{len(trained.skipped)} left out, the first: {first.name}: {first.reason}. All of them: {listed}")
    print(f"Checkpoint: {trained.output}   curves: {trained.output / 'training' / 'curves.png'}")


def _is_uncaptioned(one: Any) -> bool:
    """Of many pictures only some have captions; what is broken is news."""
    return bool(one.reason.startswith("no caption: "))


def add_commands(app: typer.Typer) -> None:
    """Add the command of this package to the console command."""
    app.command()(train)
