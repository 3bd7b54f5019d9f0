"""`coca-search caption` and `train`."""

from pathlib import Path
from typing import Annotated

import typer


def caption(
    files: Annotated[list[Path], typer.Argument(help="Pictures.")],
    model: Annotated[str, typer.Option(help="A checkpoint folder; by default the one that ships with coca-search.")] = "default",
) -> None:
    """Describe pictures in a sentence each."""
    from coca_model.encoder import load

    for file, text in zip(files, load(model).caption(files), strict=True):
        print(f"{file}: {text}" if len(files) > 1 else text)


def train(
    data: Annotated[Path, typer.Argument(help="A folder of Parquet files with pictures and texts, and captions.txt.")],
    teacher: Annotated[Path, typer.Argument(help="The folder of the image teacher, MobileNetV2.")],
    output: Annotated[Path, typer.Argument(help="Where the checkpoint goes.")],
    work: Annotated[Path, typer.Option(help="Where kept stem maps go: about 8 GB.")] = Path("build/train"),
    start: Annotated[Path | None, typer.Option(help="A checkpoint to go on from, with the joint phase only.")] = None,
    text_steps: int = 1200,
    joint_steps: int = 420,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> None:
    """Train the embedded checkpoint. Prints one JSON line each 25 steps and its recall at the end."""
    import json

    from coca_model.train import TrainOptions
    from coca_model.train import train as run

    steps = {"text_steps": text_steps, "joint_steps": joint_steps}
    print(json.dumps(run(TrainOptions(data, teacher, output, work, start, **steps, learning_rate=learning_rate, seed=seed))))


def add_commands(app: typer.Typer) -> None:
    for command in (caption, train):
        app.command()(command)
