"""`coca-search caption`."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer


def caption(
    files: Annotated[list[Path], typer.Argument(help="Pictures.")],
    model: Annotated[str, typer.Option(help="A checkpoint: a folder, a file of open_clip's weights, or a name of the hub.")] = "default",
    method: Annotated[Literal["beam", "greedy", "sample", "contrastive"], typer.Option(help="How words are chosen.")] = "beam",
    beams: Annotated[int, typer.Option(help="Sentences that beam search follows at once.")] = 4,
    top_k: Annotated[int, typer.Option(help="sample, contrastive: among how many words to choose; 0 for the method's own.")] = 0,
    top_p: Annotated[float, typer.Option(help="sample: among the likeliest words that hold this much probability.")] = 1.0,
    temperature: Annotated[float, typer.Option(help="sample: above 1 bolder, below 1 safer.")] = 1.0,
    guidance: Annotated[
        float | None, typer.Option(help="Above 1: more of what is particular to the picture; 1: none.", show_default="what suits the model")
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Most pieces of words in a caption.")] = 24,
    seed: Annotated[int, typer.Option(help="sample: another seed, another caption.")] = 0,
) -> None:
    """Describe pictures in a sentence each; those that cannot be read are named, and the exit code is 2."""
    from coca_model.decoding.generate import CaptionOptions
    from coca_model.encoder import load
    from coca_model.errors import PictureError

    try:
        chosen: dict[str, Any] = {"beams": beams, "top_k": top_k, "top_p": top_p, "temperature": temperature, "guidance": guidance}
        options = CaptionOptions(method, max_tokens, seed=seed, **chosen)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    encoder, seen = load(model), []
    for file in files:
        try:
            seen.append((file, encoder.preprocess(file)))
        except PictureError as error:
            print(f"coca-search: {error}", file=sys.stderr)
    for (file, _), text in zip(seen, encoder.caption([pixels for _, pixels in seen], options), strict=True):
        print(f"{file}: {text}" if len(files) > 1 else text)
    if len(seen) < len(files):
        raise typer.Exit(2)


def add_commands(app: typer.Typer) -> None:
    """Add the command of this package to the console command."""
    app.command()(caption)
