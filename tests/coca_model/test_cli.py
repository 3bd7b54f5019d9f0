import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from coca_model import CaptionOptions, load
from coca_model.cli import add_commands


@pytest.fixture
def app():
    app = typer.Typer()
    app.callback()(lambda: None)  # without a callback, typer drops the name of a single command
    add_commands(app)
    return app


@pytest.fixture
def pictures(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for path in paths:
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(path)
    return [str(path) for path in paths]


@pytest.mark.parametrize("count", [1, 2])
def test_caption_prints_a_line_a_picture_and_adds_the_path_when_there_are_several(app, pictures, tiny_checkpoint, count):
    result = CliRunner().invoke(app, ["caption", *pictures[:count], "--model", str(tiny_checkpoint)], catch_exceptions=False)
    lines = result.stdout.splitlines()
    assert len(lines) == count
    assert [line.startswith(f"{path}: ") for line, path in zip(lines, pictures, strict=False)] == [count > 1] * count


@pytest.mark.parametrize(
    "options",
    [["--method", "greedy"], ["--method", "contrastive"], ["--method", "sample", "--seed", "7", "--top-k", "9"], ["--guidance", "2"]],
)
def test_caption_passes_its_options_to_the_decoder(app, pictures, tiny_checkpoint, options):
    values = {key[2:].replace("-", "_"): value for key, value in zip(options[::2], options[1::2], strict=True)}
    wanted = CaptionOptions(**{key: value if key == "method" else int(value) for key, value in values.items()})
    encoder = load(tiny_checkpoint)
    result = CliRunner().invoke(app, ["caption", pictures[0], "--model", str(tiny_checkpoint), *options], catch_exceptions=False)
    assert result.stdout.removesuffix("\n") == encoder.caption(pictures[:1], wanted)[0]


@pytest.mark.parametrize(("option", "value", "allowed"), [("--top-p", "3", "above 0, at most 1"), ("--method", "guess", "contrastive")])
def test_an_invalid_option_is_refused_with_the_allowed_values(app, pictures, option, value, allowed):
    result = CliRunner().invoke(app, ["caption", pictures[0], option, value])
    assert result.exit_code == 2
    assert allowed in result.output


def test_an_unreadable_picture_is_named_and_the_others_are_captioned(app, pictures, tiny_checkpoint, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    files = [pictures[0], str(tmp_path / "broken.jpg"), pictures[0]]
    result = CliRunner().invoke(app, ["caption", *files, "--model", str(tiny_checkpoint)])
    assert result.exit_code == 2
    assert "broken.jpg" in result.stderr
    assert [line.split(": ")[0] for line in result.stdout.splitlines()] == [pictures[0]] * 2
