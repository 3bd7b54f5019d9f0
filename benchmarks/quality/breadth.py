"""Measures how well a model knows each kind of picture, on pictures that a training run held out.

    python -m benchmarks.quality.breadth OUTPUT/training/held-out [--model OUTPUT] [--sheet SHEET.jpg]

Each folder in it is a kind: class folders, or pictures beside a queries.csv (see `training/outputs/held_out.py`). Every search looks among
the pictures of all kinds together, as in a mixed library. Prints a table and ends with one JSON line. `--sheet` draws searches of each
kind that are drawn at random, with the first five pictures of each: right ones have a green frame.
"""

import argparse
import csv
import json
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from coca_model import Encoder, load
from evaluation.tasks.classify import class_vectors, fill
from media.formats import kind_of
from training.prepare.corpus import in_sentence

FIRST, CAPTION_FIRST = 5, 10
DRAWN, SIDE = 4, 112  # searches on the sheet for each kind; pixels
RIGHT, WRONG = (40, 160, 70), (205, 60, 50)


@dataclass(frozen=True)
class Kind:
    """The pictures of one kind by number, and the queries with the numbers of their right pictures."""

    name: str
    labelled: bool
    right: Mapping[str, frozenset[int]]


def read_kinds(root: Path, without: Sequence[str] = ()) -> tuple[list[Path], list[Kind]]:
    """All pictures, and the kinds: two of a folder with both labels and captions. Leaves out the folders named in `without`."""
    paths, kinds = list[Path](), list[Kind]()
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and path.name not in without):
        number_of = {path.relative_to(folder).as_posix(): len(paths) + n for n, path in enumerate(_pictures(folder))}
        paths += [folder / name for name in number_of]
        captions, labels = defaultdict[str, set[int]](set), defaultdict[str, set[int]](set)
        for name, number in number_of.items():
            if "/" in name:
                labels[name.split("/")[0]].add(number)
        if (folder / "queries.csv").exists():
            with (folder / "queries.csv").open(encoding="utf-8", newline="") as stream:
                for row in csv.DictReader(stream):
                    captions[row["query"]].add(number_of[row["path"]])
        for labelled, texts in ((True, labels), (False, captions)):
            if texts:
                name = f"{folder.name}, labels" if labelled and captions else folder.name
                kinds.append(Kind(name, labelled, {text: frozenset(numbers) for text, numbers in texts.items()}))
    return paths, kinds


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if kind_of(path) == "image")


def sentences_about(label: str) -> list[str]:
    """What the vector of a label is the mean of. Some labels are sentences already: "an aerial view of a forest"."""
    name = fill("{}", label)
    return list(dict.fromkeys((name, in_sentence("a photo of a {}", name))))


def cosines(queries: NDArray[np.float32], images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Queries (Q, E) and pictures (N, E), or (N, C, E) with several vectors each, of which the nearest counts -> (Q, N)."""
    return (queries @ images.reshape(-1, images.shape[-1]).T).reshape(len(queries), len(images), -1).max(2)


def measure(kind: Kind, images: NDArray[np.float32], encode_texts: Callable[[Sequence[str]], NDArray[np.float32]]) -> dict[str, float]:
    """The figures of a kind in percent, with `pictures`. `images` as for `cosines`."""
    pictures = sorted(frozenset().union(*kind.right.values()))
    figures: dict[str, float] = {"pictures": len(pictures)}
    texts = list(kind.right)
    ranked = np.argsort(-cosines(encode_texts(texts), images), axis=1, kind="stable")
    if not kind.labelled:
        found = [not kind.right[text].isdisjoint(row[:CAPTION_FIRST].tolist()) for text, row in zip(texts, ranked, strict=True)]
        return figures | {"caption R@10": 100 * float(np.mean(found))}
    classes = class_vectors([sentences_about(text) for text in texts], ("{}",), encode_texts)
    answers = cosines(classes, images[pictures]).argmax(0)
    figures["label first"] = 100 * float(np.mean([number in kind.right[texts[one]] for number, one in zip(pictures, answers, strict=True)]))
    shares = []
    for text, row in zip(texts, ranked, strict=True):
        most = min(FIRST, len(kind.right[text]))
        shares.append(len(kind.right[text].intersection(row[:most].tolist())) / most)
    return figures | {"precision at 5": 100 * float(np.mean(shares))}


def overall(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The means over pictures, so that a kind counts by its size."""
    found = {}
    for name in ("label first", "precision at 5", "caption R@10"):
        with_it = [(row[name], row["pictures"]) for row in rows if name in row]
        if with_it:
            found[name] = float(np.average([value for value, _ in with_it], weights=[count for _, count in with_it]))
    return found


def sheet(kinds: Sequence[Kind], paths: Sequence[Path], images: NDArray[np.float32], encoder: Encoder, out: Path) -> None:
    """Draw some searches of each kind, two in a row."""
    draws, rows = random.Random(0), list[tuple[Kind, str]]()
    for kind in kinds:
        rows += [(kind, text) for text in draws.sample(sorted(kind.right), min(DRAWN, len(kind.right)))]
    width, height = FIRST * SIDE + 12, SIDE + 20
    canvas = Image.new("RGB", (2 * width, height * -(-len(rows) // 2)), "white")
    font, draw = ImageFont.load_default(13), ImageDraw.Draw(canvas)
    for number, (kind, text) in enumerate(rows):
        left, top = number % 2 * width, number // 2 * height
        draw.text((left + 2, top + 2), f"{kind.name}: {text}"[:88].encode("latin-1", "replace").decode("latin-1"), "black", font)
        order = np.argsort(-(encoder.encode_texts([text])[0] @ images.T), kind="stable")
        for place, one in enumerate(order[:FIRST].tolist()):
            with Image.open(paths[one]) as picture:
                small = ImageOps.fit(picture.convert("RGB"), (SIDE - 8, SIDE - 8))
            framed = ImageOps.expand(small, 3, RIGHT if one in kind.right[text] else WRONG)
            canvas.paste(framed, (left + place * SIDE, top + 18))
    canvas.save(out, quality=80)


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("held_out", type=Path, help="the folder OUTPUT/training/held-out")
    parser.add_argument("--model", default="default", help="a checkpoint")
    parser.add_argument("--without", action="append", default=[], help="a kind to leave out; may be given several times")
    parser.add_argument("--sheet", type=Path, help="the picture to draw")
    options = parser.parse_args()
    encoder = load(options.model)
    paths, kinds = read_kinds(options.held_out, options.without)
    images = np.concatenate([encoder.encode_images([*paths[start : start + 256]]) for start in range(0, len(paths), 256)])
    rows = {kind.name: measure(kind, images, encoder.encode_texts) for kind in kinds}
    for name, row in rows.items():
        print(f"{name:24} " + "  ".join(f"{key} {value:.0f}" if key == "pictures" else f"{key} {value:.1f}" for key, value in row.items()))
    if options.sheet:
        sheet(kinds, paths, images, encoder, options.sheet)
    print(json.dumps({"model": encoder.model_id, "pictures": len(paths), **overall([*rows.values()]), "kinds": rows}))


if __name__ == "__main__":
    main()
