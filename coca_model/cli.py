"""`coca-search caption`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from coca_model.decoding.options import CaptionOptions, Method


def caption(
    files: Annotated[list[Path], typer.Argument(help="Pictures.")],
    model: Annotated[str, typer.Option(help="A checkpoint folder, open_clip's weights, or a name on the Hugging Face hub.")] = "default",
    method: Annotated[Method, typer.Option(help="How words are chosen.")] = "beam",
    beams: Annotated[int, typer.Option(help="For beam: the number of beams.")] = 4,
    top_k: Annotated[int, typer.Option(help="For sample and contrastive: choose among this many words. 0: the method's default.")] = 0,
    top_p: Annotated[float, typer.Option(help="For sample: choose among the likeliest words, up to this probability.")] = 1.0,
    temperature: Annotated[float, typer.Option(help="For sample: above 1 bolder, below 1 safer.")] = 1.0,
    guidance: Annotated[
        float | None,
        typer.Option(help="Above 1, captions are more specific to the picture. 1: off.", show_default="depends on the model"),
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="The most tokens (words or parts of words) in a caption.")] = 24,
    seed: Annotated[int, typer.Option(help="For sample: another seed gives other captions.")] = 0,
) -> None:
    """Describe each picture in one sentence. If a picture cannot be read, the others are described, and the exit code is 2."""
    from coca_model.encoder import load
    from coca_model.errors import PictureError

    try:
        options = CaptionOptions(
            method, max_tokens, beams=beams, top_k=top_k, top_p=top_p, temperature=temperature, guidance=guidance, seed=seed
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    encoder, readable = load(model), []
    for file in files:
        try:
            readable.append((file, encoder.preprocess(file)))
        except PictureError as error:
            print(f"coca-search: {error}", file=sys.stderr)
    for (file, _), text in zip(readable, encoder.caption([pixels for _, pixels in readable], options), strict=True):
        print(f"{file}: {text}" if len(files) > 1 else text)
    if len(readable) < len(files):
        raise typer.Exit(2)


def add_commands(app: typer.Typer) -> None:
    """Add the command of this package to the console command."""
    app.command()(caption)
