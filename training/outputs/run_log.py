"""The run log, with a JSON line for each shown step and each validation, its curves, and the list of what was skipped."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from training.examples.example import Skipped

_NO_CURVES = {"seconds", "seconds_left", "pictures_a_second", "gradient_norm", "learning_rate"}
_SMALL: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "fontsize": 8}
LINE_KEYS = ("kind", "phase", "step")  # everything else in a line was measured


class RunLog:
    """Writes `log.jsonl` line by line. A resumed run continues it after its first step.

    Every line has `phase` and `step`, counted from 1. A line of kind "step" has the losses, and one of kind "validation" the
    recall. One of kind "kept" says that the weights of this step became the checkpoint, until the next such line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[dict[str, Any]] = []

    def begin(self, phases: Sequence[str], phase: int, step: int) -> None:
        """Start the log. To resume from `step` of phase number `phase`, keep the earlier lines up to there."""
        number_of = {name: number for number, name in enumerate(phases)}
        if (phase, step) > (0, 0) and self.path.exists():
            self.lines = [line for line in _lines(self.path) if (number_of.get(line["phase"], phase + 1), line["step"]) <= (phase, step)]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("".join(f"{json.dumps(line)}\n" for line in self.lines), encoding="utf-8")

    def kept(self) -> dict[str, Any] | None:
        """The last line of kind "kept", with the measures of the validation of that step if there was one; None if none was kept."""
        measured = {(line["phase"], line["step"]): line for line in self.lines if line["kind"] == "validation"}
        kept = [line for line in self.lines if line["kind"] == "kept"]
        return {**measured.get((kept[-1]["phase"], kept[-1]["step"]), {}), **kept[-1]} if kept else None

    def write(self, kind: str, phase: str, step: int, values: Mapping[str, float] | None = None) -> None:
        """Add a line."""
        line = {"kind": kind, "phase": phase, "step": step, **(values or {})}
        self.lines.append(line)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(line)}\n")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log, without damaged ones, such as the half line that a killed run leaves."""
    for text in path.read_bytes().decode(errors="replace").splitlines():
        with suppress(ValueError):
            line = json.loads(text)
            if isinstance(line, dict) and line.keys() >= {*LINE_KEYS}:
                yield line


def write_skipped(path: Path, skipped: Iterable[Skipped]) -> list[Skipped]:
    """Write names and reasons as CSV, without repetitions, in the order of names. Returns what was written."""
    rows = sorted({(one.name, one.reason) for one in skipped})
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("name", "reason"), *rows])
    return [Skipped(*row) for row in rows]


def read_skipped(path: Path) -> list[Skipped]:
    """Read the file of `write_skipped`; empty if there is none."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [Skipped(row["name"], row["reason"]) for row in csv.DictReader(file)]


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
        for name in dict.fromkeys(name for line in shown for name in line if name not in {*LINE_KEYS, *_NO_CURVES}):
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
