"""Writes the pictures that a recipe holds out for later measurements, in the form that `coca-search eval` reads.

Labelled pictures go into a folder for each class (`eval classify`), captioned ones beside a queries.csv (`eval retrieval own`).
"""

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

from media.formats import HEAD_BYTES, sniff
from training.examples.example import Example, Skipped


def write_held_out(examples: Sequence[Example], folder: Path) -> list[Skipped]:
    """Replace `folder` by the examples of the split "test", in a folder for each source. Returns the pictures that cannot be read."""
    shutil.rmtree(folder, ignore_errors=True)
    skipped, queries = [], dict[Path, list[tuple[str, str]]]()
    for number, example in enumerate(examples):
        if example.split != "test" or not example.texts:
            continue
        try:
            data = example.read()
        except OSError as error:
            skipped.append(Skipped(example.name, str(error)))
            continue
        known = sniff(data[:HEAD_BYTES])
        if known is None or known.kind != "image":
            skipped.append(Skipped(example.name, f"not a picture. It begins with {data[:16]!r}."))
            continue
        source = folder / _file_name(example.source)
        inside = Path(_file_name(example.texts[0])) if example.kind == "label" else Path()
        path = inside / f"{number:06d}{known.suffixes[0]}"
        (source / inside).mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(data)
        if example.kind != "label":
            queries.setdefault(source / "queries.csv", []).extend((text, path.as_posix()) for text in example.texts)
    for file, rows in queries.items():
        with file.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([("query", "path"), *rows])
    return skipped


def _file_name(text: str) -> str:
    """The text as a folder name: without separators, not hidden, not too long."""
    return "".join(" " if letter in '/\\:*?"<>|\0' else letter for letter in text).strip(" .").encode()[:200].decode(errors="ignore") or "_"
