"""What a training writes down: a JSON line for each step that is shown and each validation, and the rows that were left out."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from training.examples.example import Skipped

PLACE = ("kind", "phase", "step")  # what a line is about; all else in it was measured


class Diary:
    """Writes `log.jsonl` line by line; a run that goes on continues it behind the step that it goes on from.

    Every line has `phase` and `step`, counted from 1. One of kind "step" has the losses, one of kind "validation" the recall; one of
    kind "kept" says that the weights of this step became the checkpoint, until the next such line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[dict[str, Any]] = []

    def begin(self, phases: Sequence[str], phase: int, step: int) -> None:
        """Keep the lines of steps that were done before `step` of phase number `phase`, as it goes on from there; none at the beginning."""
        until = {name: (number < phase, number == phase) for number, name in enumerate(phases)}
        if (phase, step) > (0, 0) and self.path.exists():
            kept = [(*until.get(line["phase"], (False, False)), line) for line in _lines(self.path)]
            self.lines = [line for over, current, line in kept if over or (current and line["step"] <= step)]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("".join(f"{json.dumps(line)}\n" for line in self.lines), encoding="utf-8")

    def kept(self) -> dict[str, Any] | None:
        """The last line of kind "kept", with what the validation of its step measured, if there was one; None before any."""
        last = next((line for line in reversed(self.lines) if line["kind"] == "kept"), None)
        same = [line for line in self.lines if last and line["kind"] == "validation" and all(line[of] == last[of] for of in PLACE[1:])]
        return {**same[-1], **last} if last and same else last

    def write(self, kind: str, phase: str, step: int, values: Mapping[str, float] | None = None) -> None:
        """Add a line."""
        line = {"kind": kind, "phase": phase, "step": step, **(values or {})}
        self.lines.append(line)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(line)}\n")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log; half a line that a kill left, and what is damaged otherwise, is none."""
    for text in path.read_bytes().decode(errors="replace").splitlines():
        with suppress(ValueError):
            line = json.loads(text)
            if isinstance(line, dict) and line.keys() >= {*PLACE}:
                yield line


def write_skipped(path: Path, skipped: Iterable[Skipped]) -> list[Skipped]:
    """Write which rows were left out and why, as CSV, each once in the order of names. Returns them so."""
    rows = sorted({(one.name, one.reason) for one in skipped})
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("name", "reason"), *rows])
    return [Skipped(*row) for row in rows]


def read_skipped(path: Path) -> list[Skipped]:
    """What `write_skipped` wrote there; nothing where there is no such file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [Skipped(row["name"], row["reason"]) for row in csv.DictReader(file)]
