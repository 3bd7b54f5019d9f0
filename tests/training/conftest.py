"""Pictures that a tiny model can learn within seconds: plain colours with captions that name the colour."""

import csv

import pytest
from PIL import Image

from tests import fakes

COLOURS = fakes.COLOURS | {"purple": (150, 30, 180), "orange": (250, 140, 20)}


@pytest.fixture(autouse=True)
def no_curves(request, monkeypatch):
    """Matplotlib would take half of the time of these tests. `with_curves` lets it draw."""
    if "with_curves" not in request.fixturenames:
        monkeypatch.setattr("training.outputs.checkpointer.draw_curves", lambda lines, phases, path: path.write_bytes(b"curves"))


@pytest.fixture
def with_curves():
    """Curves are drawn."""


@pytest.fixture
def colours(tmp_path):
    """A folder of pictures with captions.csv: three of each colour, and the first of each is held out."""
    folder = tmp_path / "colours"
    folder.mkdir()
    rows = [["path", "caption", "split"]]
    for colour, rgb in COLOURS.items():
        for number in range(3):
            name, split = f"{colour}{number}.png", "train" if number else "val"
            Image.new("RGB", (32, 32), tuple(min(255, value + 4 * number) for value in rgb)).save(folder / name)
            rows += [[name, f"a {colour} car", split], [name, f"the {colour} house", split]]
    with (folder / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder
