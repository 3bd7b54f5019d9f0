import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from training.outputs.run_log import draw_curves

PHASES = [("words", 20), ("pictures", 30)]
LINES = [
    {"kind": "step", "phase": "words", "step": 10, "language": 4.0, "seconds": 1e6, "gradient_norm": 1e6},
    {"kind": "step", "phase": "words", "step": 20, "language": 3.0, "seconds": 2e6, "gradient_norm": 1e6},
    {"kind": "step", "phase": "pictures", "step": 10, "language": 2.5, "contrastive": 6.0},
    {"kind": "validation", "phase": "pictures", "step": 10, "text to picture R@1": 20.0},
    {"kind": "step", "phase": "pictures", "step": 30, "language": 2.0, "contrastive": 5.0},
    {"kind": "validation", "phase": "pictures", "step": 30, "text to picture R@1": 40.0, "text to picture log loss": 3.0},
]


@pytest.fixture
def drawn(monkeypatch):
    """The plotted curves by name."""
    curves, plot = {}, Axes.plot

    def recorded(axes, x, y, **how):
        curves[how["label"]] = list(zip(x, y, strict=True))
        return plot(axes, x, y, **how)

    monkeypatch.setattr(Axes, "plot", recorded)
    return curves


def pixels(lines, phases, tmp_path):
    draw_curves(lines, phases, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"), np.int64)


def coloured(picture):
    """The number of coloured pixels. Only curves have a colour."""
    return (np.ptp(picture, axis=-1) > 40).sum()


def test_losses_and_recall_are_plotted_over_the_steps_of_all_phases(drawn, tmp_path):
    draw_curves(LINES, PHASES, tmp_path / "curves.png")
    assert drawn == {
        "language": [(10, 4.0), (20, 3.0), (30, 2.5), (50, 2.0)],
        "contrastive": [(30, 6.0), (50, 5.0)],
        "text to picture R@1": [(30, 20.0), (50, 40.0)],
        "text to picture log loss": [(50, 3.0)],
    }


def test_the_chart_shows_curves_in_both_halves(tmp_path):
    picture = pixels(LINES, PHASES, tmp_path)
    assert picture.shape == (770, 990, 3)
    assert coloured(picture[:385]) > 500
    assert coloured(picture[385:]) > 200


@pytest.mark.parametrize("lines", [LINES[:2], LINES[3:4], []], ids=["no validation", "one validation", "nothing"])
def test_a_run_with_few_log_lines_has_a_chart(lines, tmp_path):
    picture = pixels(lines, PHASES, tmp_path)
    assert (picture < 128).any()  # axes and their names
    assert bool(coloured(picture)) is bool(lines)


def test_the_step_with_the_kept_weights_is_marked(tmp_path, monkeypatch):
    marks, line = [], Axes.axvline
    monkeypatch.setattr(Axes, "axvline", lambda axes, x, **how: (marks.append(x) if "linestyle" in how else None, line(axes, x, **how)))
    kept = [{"kind": "kept", "phase": "words", "step": 20}, {"kind": "kept", "phase": "pictures", "step": 10}]
    draw_curves([*LINES, *kept], PHASES, tmp_path / "curves.png")
    assert marks == [30]


def test_other_values_give_another_chart(tmp_path):
    other = [line | {"language": 1.0} if "language" in line else line for line in LINES]
    assert (pixels(LINES, PHASES, tmp_path) != pixels(other, PHASES, tmp_path)).any()
