"""Measures which words of a query a model understands: negation, counts, colours, people, relations, and the order of words.

    python -m benchmarks.quality.wording DATA [--model MODEL] [--show 10]

DATA is read as for training. Its captioned pictures of the split `val` are used. Rules change one thing in a true caption, so that it
becomes false for its picture, with at most one pair of captions a picture. A model is right if it prefers the true one, by the cosine of
the vectors, by log p(text | picture), or by that minus log p(text). Guessing gives 50 %. So does a preference for certain words, because
there are as many pairs for "man" made "woman" as for the reverse. True captions are still more natural than false ones: the last figure
tells how often log p(text) alone is right, without the picture. `--show` prints pairs. Ends with one JSON line.
"""

import argparse
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coca_model import Encoder, load
from evaluation.measures.intervals import MIN_CLUSTERS, mean_interval
from training.examples.read import read_examples
from training.prepare.false_texts import KINDS, WATERS, Rule

Vectors = NDArray[np.float32]
FIRST = 10  # results of a search
THINGS = {  # a thing, the words of captions that mention it, and a search in whose pictures it is often seen
    "a dog": ("dogs?|pupp(?:y|ies)", "people"),
    "a ball": (r"\w*balls?", "a dog"),
    "a bicycle": ("bi(?:ke|cycle)s?|cyclists?|bikers?", "a man"),
    "a hat": ("hats?|caps?", "a man"),
    "a car": ("cars?", "a street"),
    "water": (f"(?:{WATERS})s?", "a child"),
    "snow": (r"snow\w*", "people"),
    "grass": ("grass|grassy|lawn", "a dog"),
}
QUERIES = ("{thing}", "no {noun}", "a picture without {thing}", "{other}", "{other} without {thing}")


@dataclass(frozen=True)
class Pair:
    """A caption of a picture, and the same one made false."""

    picture: int
    right: str
    wrong: str


def make_pairs(captions: Sequence[Sequence[str]], rule: Rule) -> list[Pair]:
    """At most one pair for each picture, and each exchange of words as often as the reverse one."""
    draws, groups = random.Random(0), dict[tuple[str, str], list[Pair]]()
    for picture, texts in enumerate(captions):
        changed = ((text, rule(text, draws)) for text in map(str.lower, texts))
        first = next(((text, wrong) for text, wrong in changed if wrong and wrong != text), None)
        if first:
            groups.setdefault(exchange(*first), []).append(Pair(picture, *first))
    return [pair for (one, other), pairs in groups.items() for pair in pairs[: len(groups.get((other, one), ()))]]


def exchange(right: str, wrong: str) -> tuple[str, str]:
    """The words of each text that the other lacks; two empty texts if only the order differs."""
    one, other = right.split(), wrong.split()
    if sorted(one) == sorted(other):
        return "", ""
    for end in (0, -1):
        while one and other and one[end] == other[end]:
            del one[end], other[end]
    return " ".join(one), " ".join(other)


def measure(pairs: Sequence[Pair], images: Vectors, tokens: Tensor, encoder: Encoder) -> dict[str, list[float]]:
    """For each way to decide, the percentage right with its 95 % interval. A tie is wrong."""
    texts = [text for pair in pairs for text in (pair.right, pair.wrong)]
    vectors = encoder.encode_texts(texts).reshape(len(pairs), 2, -1)
    alone = encoder.score(None, texts).reshape(-1, 2)
    given = np.concatenate([encoder.score(tokens[[pair.picture]], [pair.right, pair.wrong]) for pair in pairs])
    cosine = np.einsum("pte,pe->pt", vectors, images[[pair.picture for pair in pairs]])
    ways = {"cosine": cosine, "log p(text | picture)": given, "minus log p(text)": given - alone, "log p(text)": alone}
    found = {name: mean_interval((scores[:, 0] > scores[:, 1]).astype(np.float64)) for name, scores in ways.items()}
    return {name: [one.value, one.low or 0.0, one.high or 0.0] for name, one in found.items()}


def negation(captions: Sequence[Sequence[str]], images: Vectors, encoder: Encoder) -> dict[str, float]:
    """In how many of the first ten pictures a caption mentions the thing, in percent, over all things."""
    found: dict[str, list[float]] = {}
    for thing, (words, other) in THINGS.items():
        shown = np.array([bool(re.search(rf"\b(?:{words})\b", " ".join(texts), re.IGNORECASE)) for texts in captions])
        vectors = encoder.encode_texts([query.format(thing=thing, noun=thing.removeprefix("a "), other=other) for query in QUERIES])
        searches = dict(zip(QUERIES, vectors, strict=True)) | {"{other}, vector of {thing} / 2 subtracted": vectors[3] - vectors[0] / 2}
        found.setdefault("all pictures", []).append(shown.mean())
        for query, vector in searches.items():
            found.setdefault(query, []).append(shown[np.argsort(-(images @ vector), kind="stable")[:FIRST]].mean())
    return {name: 100 * float(np.mean(shares)) for name, shares in found.items()}


def main() -> None:
    """Make the pairs, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="+", help="captioned pictures with the split val")
    parser.add_argument("--model", default="default", help="a checkpoint")
    parser.add_argument("--show", type=int, default=0, help="how many pairs of each kind to print, without measuring")
    options = parser.parse_args()
    examples = [example for example in read_examples(options.data).examples if example.split == "val" and example.kind == "caption"]
    captions = [example.texts for example in examples]
    pairs_of = {kind: make_pairs(captions, rule) for kind, rule in KINDS.items()}
    if options.show:
        for kind, pairs in pairs_of.items():
            print(f"\n{kind}: {len(pairs)}", *(f"{pair.right}\n    {pair.wrong}" for pair in pairs[: options.show]), sep="\n")
        return
    encoder = load(options.model)
    batches = [[example.read() for example in examples[start : start + 256]] for start in range(0, len(examples), 256)]
    images = np.concatenate([encoder.encode_images(batch) for batch in batches])
    tokens = torch.cat([encoder.encode_image_tokens(batch) for batch in batches])
    found = {kind: measure(pairs, images, tokens, encoder) for kind, pairs in pairs_of.items() if len(pairs) >= MIN_CLUSTERS}
    for kind, ways in found.items():
        print(
            f"{kind:22} {len(pairs_of[kind]):4} pairs",
            *(f"{way} {value:.0f} ({low:.0f}-{high:.0f})" for way, (value, low, high) in ways.items()),
            sep="  ",
        )
    excluded = negation(captions, images, encoder)
    print(
        "\nPictures with the thing among the first ten, in percent:",
        *(f"  {name:44} {value:.0f}" for name, value in excluded.items()),
        sep="\n",
    )
    rows = {kind: {"pairs": len(pairs_of[kind]), **ways} for kind, ways in found.items()}
    print(json.dumps({"model": encoder.model_id, "pictures": len(examples), "pairs": rows, "negation": excluded}))


if __name__ == "__main__":
    main()
