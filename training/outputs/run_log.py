"""The run log, with a JSON line for each shown step and each validation, and the list of what was skipped."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from training.examples.example import Skipped

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
