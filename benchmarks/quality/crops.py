"""Compares ways to turn pictures of any shape into vectors, and whitening of the vectors, on pictures that a training run held out.

    python -m benchmarks.quality.crops OUTPUT/training/held-out [--model OUTPUT]

Shapes: the whole picture squashed to a square, its centre, or padded with the mean colour. Crops: beside the whole picture, its four
corners or its two halves; either a mean of the vectors stands for the picture, or the nearest of them counts. Whitening: see `whitening`.
Text to picture is measured as in `breadth`. "same label" is the share of pictures of the same label among the first five for a picture.
"part finds whole" is the share of random quarters of pictures that find their picture first. Prints tables and ends with one JSON line.
"""

import argparse
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from benchmarks.quality.breadth import FIRST, Kind, cosines, measure, overall, read_kinds, sentences_about
from coca_model import Encoder, load
from media.pictures.picture import open_picture

Vectors = NDArray[np.float32]
CORNER, PART = 2 / 3, 1 / 2  # of the sides of the picture
SQUASHED, CENTRE, PADDED, CORNERS, HALVES, A_PART = 0, 1, 2, slice(3, 7), slice(7, 9), 9  # the order of `views`
SHAPES = {"all": (0, 99), "square": (0, 1.15), "to 1.45": (1.15, 1.45), "longer": (1.45, 99)}  # long side through short side


def views(picture: Image.Image, encoder: Encoder, draws: random.Random) -> list[NDArray[np.uint8]]:
    """All squares of one picture: uint8 (H, W, 3)."""
    (width, height), config = picture.size, encoder.config.image
    square, corner = (config.image_size, config.image_size), 1 - CORNER
    half = [(0, 0, 0.5, 1), (0.5, 0, 1, 1)] if width >= height else [(0, 0, 1, 0.5), (0, 0.5, 1, 1)]
    left, top = draws.uniform(0, 1 - PART), draws.uniform(0, 1 - PART)
    corners = [(x, y, x + CORNER, y + CORNER) for y in (0, corner) for x in (0, corner)]
    boxes = [
        (x0 * width, y0 * height, x1 * width, y1 * height) for x0, y0, x1, y1 in (*corners, *half, (left, top, left + PART, top + PART))
    ]
    resize = partial(picture.resize, square, Image.Resampling.BICUBIC)
    mean = tuple(round(255 * value) for value in config.mean)
    whole = [
        resize(),
        ImageOps.fit(picture, square, Image.Resampling.BICUBIC),
        ImageOps.pad(picture, square, Image.Resampling.BICUBIC, mean),
    ]
    return [np.array(view) for view in (*whole, *(resize(box) for box in boxes))]


def embed(paths: Sequence[Path], encoder: Encoder) -> tuple[Vectors, NDArray[np.float64]]:
    """The vectors of all views, float32 (N, V, E), and the long side of each picture through its short side (N,)."""
    draws, vectors, ratios = random.Random(0), list[Vectors](), list[float]()
    for start in range(0, len(paths), 32):
        pictures = [open_picture(path) for path in paths[start : start + 32]]
        ratios += [max(picture.size) / min(picture.size) for picture in pictures]
        squares = [view for picture in pictures for view in views(picture, encoder, draws)]
        different = {view.tobytes(): view for view in squares}  # three are the same for a square picture
        found = dict(zip(different, encoder.encode_pixels(np.stack([*different.values()])), strict=True))
        vectors.append(np.stack([found[view.tobytes()] for view in squares]).reshape(len(pictures), -1, encoder.config.embedding_width))
    return np.concatenate(vectors), np.array(ratios)


def unit(vectors: NDArray[np.floating]) -> Vectors:
    """Each row at L2 norm 1."""
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def index_ways(of: Vectors) -> dict[str, Vectors]:
    """The vectors that stand for each picture, (N, E) or (N, C, E), by the name of the way. `of`: from `embed`."""
    whole = of[:, SQUASHED]
    ways = {"squashed": whole, "centre": of[:, CENTRE], "padded": of[:, PADDED]}
    for name, part in {"corners": CORNERS, "halves": HALVES}.items():
        ways[f"whole + {name}, mean"] = unit(whole + of[:, part].mean(1))  # better than the plain mean of all
        ways[f"whole + {name}, nearest"] = np.concatenate([whole[:, None], of[:, part]], 1)
    return ways


def whitening(images: Vectors, groups: int, shuffles: int, strength: float) -> Callable[[Vectors], Vectors]:
    """ZCA whitening fitted on picture vectors, and applied to pictures or, with their own mean, to texts.

    With several groups, as in shuffled group whitening (Zhuo et al. 2023, WhitenedCSE, section 3.2): the channels are shuffled and
    divided into groups, and each is whitened by itself. The paper takes several shuffles as positives in training. Here their vectors
    are joined, so that the cosine is the mean over the shuffles. `strength` is the power of the inverse covariance: 0.5 for full whitening.
    """
    draws, width = np.random.default_rng(0), images.shape[1]
    centred, weights = images - images.mean(0), list[NDArray[np.float64]]()
    for _ in range(shuffles):
        weight = np.zeros((width, width))
        for channels in np.split(draws.permutation(width), groups):
            values, axes = np.linalg.eigh(np.cov(centred[:, channels], rowvar=False))
            weight[np.ix_(channels, channels)] = axes * np.maximum(values, 1e-3 * values.max()) ** -strength @ axes.T
        weights.append(weight)
    return lambda vectors: unit(np.concatenate([unit((vectors - vectors.mean(0)) @ weight) for weight in weights], 1))


def same_label(kinds: Sequence[Kind], queries: Vectors, images: Vectors) -> float:
    """The share of right pictures among the first five, or as many as there are, in percent. The picture itself is left out."""
    scores, shares = cosines(queries, images), []
    np.fill_diagonal(scores, -np.inf)
    for numbers in (numbers for kind in kinds if kind.labelled for numbers in kind.right.values() if len(numbers) > 1):
        most = min(FIRST, len(numbers) - 1)
        for row in np.argsort(-scores[sorted(numbers)], axis=1, kind="stable")[:, :most]:
            shares.append(len(numbers.intersection(row.tolist())) / most)
    return 100 * float(np.mean(shares))


def only(kind: Kind, kept: NDArray[np.bool_]) -> Kind:
    """The kind in a library of only the kept pictures, by their numbers there."""
    numbers = np.cumsum(kept) - 1
    right = {text: frozenset(int(numbers[one]) for one in ones if kept[one]) for text, ones in kind.right.items()}
    return replace(kind, right={text: ones for text, ones in right.items() if ones})


def main() -> None:
    """Embed, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("held_out", type=Path, help="the folder OUTPUT/training/held-out")
    parser.add_argument("--model", default="default", help="a checkpoint")
    options = parser.parse_args()
    encoder = load(options.model)
    paths, kinds = read_kinds(options.held_out)
    vectors, ratios = embed(paths, encoder)
    texts = sorted({sentence for kind in kinds for text in kind.right for sentence in (text, *sentences_about(text))})
    found = tables(kinds, vectors, ratios, dict(zip(texts, encoder.encode_texts(texts), strict=True)))
    for title, rows in found.items():
        print(f"\n{title}")
        for name, row in rows.items():
            print(f"  {name:28} " + "  ".join(f"{key} {value:.1f}" for key, value in row.items()))
    print(json.dumps({"model": encoder.model_id, "pictures": len(paths), **found}))


def tables(
    kinds: Sequence[Kind], vectors: Vectors, ratios: NDArray[np.float64], text_vectors: Mapping[str, Vectors]
) -> dict[str, dict[str, dict[str, float]]]:
    """The figures of each way, by the title of the table."""
    plain, ways = vectors[:, SQUASHED], index_ways(vectors)

    def measured(images: Vectors, of: Mapping[str, Vectors] = text_vectors, kept: NDArray[np.bool_] = ratios > 0) -> dict[str, float]:
        parts = [part for kind in kinds if (part := only(kind, kept)).right]
        return overall([measure(part, images[kept], lambda texts: np.stack([of[text] for text in texts])) for part in parts])

    found: dict[str, dict[str, dict[str, float]]] = {}
    for shape, (low, high) in SHAPES.items():
        kept = (low <= ratios) & (ratios < high)
        found[f"pictures indexed, {shape} ({kept.sum()})"] = {name: measured(images, kept=kept) for name, images in ways.items()}
    found["a picture as the query, pictures indexed"] = {
        name: {
            "same label": same_label(kinds, plain, images),
            "same label, by the mean of query's corners": same_label(kinds, ways["whole + corners, mean"], images),
            "part finds whole": 100 * float((cosines(vectors[:, A_PART], images).argmax(1) == np.arange(len(images))).mean()),
        }
        for name, images in ways.items()
    }
    whites = {
        "none": unit,
        "only centred": whitening(plain, 1, 1, 0),
        "half": whitening(plain, 1, 1, 0.25),
        "full": whitening(plain, 1, 1, 0.5),
    }
    whites |= {
        f"{groups} groups, {shuffles} shuffles": whitening(plain, groups, shuffles, 0.5) for groups in (4, 16, 64) for shuffles in (1, 8)
    }
    names, rows = [*text_vectors], np.stack([*text_vectors.values()])
    found["whitening"] = {
        name: {"same label": same_label(kinds, white(plain), white(plain))}
        | measured(white(plain), dict(zip(names, white(rows), strict=True)))
        for name, white in whites.items()
    }
    found["whitening"]["full, for the query only"] = {"same label": same_label(kinds, whites["full"](plain), plain)}
    return found


if __name__ == "__main__":
    main()
