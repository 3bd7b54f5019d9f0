"""Draws the curves of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from training.outputs.run_log import LINE_KEYS

_NO_CURVES = {*LINE_KEYS, "seconds", "seconds_left", "pictures_a_second", "gradient_norm", "learning_rate"}
_SMALL: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "fontsize": 8}


def draw_curves(lines: Sequence[Mapping[str, Any]], phases: Sequence[tuple[str, int]], path: Path) -> None:
    """Draw a PNG: the losses above, the recall of held-out pictures below, and a line at the step whose weights are the checkpoint.

    `lines` are those of the `RunLog`; `phases` are names, and lengths in steps.
    """
    starts, total = {}, 0
    for name, steps in phases:
        starts[name], total = total, total + steps
    figure = Figure(figsize=(9, 7), layout="constrained")
    FigureCanvasAgg(figure)
    losses, recall = figure.subplots(2, 1, sharex=True)
    for kind in ("step", "validation"):
        shown = [line for line in lines if line["kind"] == kind]
        for name in dict.fromkeys(name for line in shown for name in line if name not in _NO_CURVES):
            points = [(starts[line["phase"]] + line["step"], line[name]) for line in shown if name in line]
            axes = losses if kind == "step" or name.endswith("loss") else recall
            axes.plot(*zip(*points, strict=True), label=name, linewidth=1.4, marker="." if kind == "validation" else None)
    for axes in (losses, recall):
        if axes.lines:
            axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        for name, start in starts.items():
            axes.axvline(start, color="0.8", linewidth=0.8)
            if axes is losses and len(starts) > 1:
                axes.annotate(name, (start, 1), xytext=(4, -10), parse_math=False, **_SMALL)
    if kept := [line for line in lines if line["kind"] == "kept"]:
        kept_step = starts[kept[-1]["phase"]] + kept[-1]["step"]
        recall.axvline(kept_step, color="0.4", linewidth=1, linestyle="--")
        recall.annotate("kept", (kept_step, 0), xytext=(4, 4), **_SMALL)
    losses.set_ylabel("losses (lower is better;\nwith dots: of held-out pictures)")
    recall.set_ylabel("found on held-out pictures, %\n(higher is better)")
    recall.set_xlabel("step")
    recall.xaxis.get_major_locator().set_params(integer=True)
    figure.savefig(path, dpi=110)
