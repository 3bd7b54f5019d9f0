import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from coca_model.cli import add_commands


@pytest.fixture
def app():
    app = typer.Typer()
    add_commands(app)
    return app


@pytest.fixture
def pictures(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for path in paths:
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(path)
    return [str(path) for path in paths]


@pytest.mark.parametrize("count", [1, 2])
def test_caption_prints_a_line_for_each_picture_and_names_it_where_there_are_several(app, pictures, tiny_checkpoint, count):
    result = CliRunner().invoke(app, ["caption", *pictures[:count], "--model", str(tiny_checkpoint)], catch_exceptions=False)
    lines = result.stdout.splitlines()
    assert len(lines) == count
    assert [line.startswith(f"{path}: ") for line, path in zip(lines, pictures, strict=False)] == [count > 1] * count


def test_help_names_both_commands(app):
    output = CliRunner().invoke(app, ["--help"]).stdout
    assert "caption" in output
    assert "train" in output
