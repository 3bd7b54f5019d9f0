"""Chooses the examples of a training run: leaves out unused sources, merges duplicates, and holds some pictures out."""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from training.examples.example import Example, Examples, Skipped
from training.ranks import Ranks
from training.recipe import Recipe

_FEWEST = 8  # with fewer captioned pictures, none is held out for validation
_MOST_VALIDATED = 5000  # enough to know recall to about a point; every validation reads all of them


def select_examples(data: Examples, recipe: Recipe, ranks: Ranks) -> tuple[Examples, str]:
    """Choose and split the examples as the recipe says. The leading rank reads every picture once, for its hash.

    Also returns the `pictures_key` of the examples. What the readers skipped and duplicates become `skipped`.
    """
    used = [example for example in data.examples if recipe.source(example.source).share != 0]
    merged, hashes, duplicates = merge(used, ranks.first(lambda: hash_pictures(used)))
    return Examples(split_examples(merged, recipe), (*data.skipped, *duplicates)), pictures_key(merged, hashes)


def merge(examples: Sequence[Example], hashes: Sequence[str]) -> tuple[list[Example], list[str], list[Skipped]]:
    """Merge rows with the same picture into one example with all texts, for data sets with a row for each caption.

    A picture that is held out in one row is trained on in none. All texts of a picture have the kind of its first row. The hash of
    an unreadable picture is "", which equals no other. Returns the examples, their hashes, and the rows that were left out.
    """
    held_out = {digest for digest, example in zip(hashes, examples, strict=True) if digest and example.split == "val"}
    merged, skipped = dict[str, tuple[Example, str]](), list[Skipped]()
    for digest, example in zip(hashes, examples, strict=True):
        first, _ = merged.get(digest or example.name, (example, digest))
        if digest in held_out and example.split != "val":
            skipped.append(Skipped(example.name, "its picture is held out in another row"))
        elif first.kind != example.kind:
            skipped.append(Skipped(example.name, f"the same picture as {first.name}, with texts of another kind"))
        else:
            texts = tuple(dict.fromkeys((*first.texts, *example.texts)))
            merged[digest or example.name] = (example if first is example else replace(first, texts=texts)), digest
    return [example for example, _ in merged.values()], [digest for _, digest in merged.values()], skipped


def split_examples(examples: Sequence[Example], recipe: Recipe) -> tuple[Example, ...]:
    """The examples with some marked "val" for validation, and the share that each source keeps from all use marked "test"."""
    splits: dict[str, str] = {}
    for source in {example.source for example in examples}:
        of_source = [replace(example, split="train") for example in examples if example.source == source]
        held_out = hold_out(of_source, share=recipe.source(source).held_out)
        splits |= {example.name: "test" for example in held_out if example.split == "val"}
    rest = hold_out([example for example in examples if example.name not in splits], share=recipe.held_out, most=_MOST_VALIDATED)
    splits |= {example.name: example.split for example in rest}
    return tuple(replace(example, split=splits[example.name]) for example in examples)


def hold_out(examples: Sequence[Example], *, share: float, most: int | None = None) -> tuple[Example, ...]:
    """Mark about a `share` (0 <= share < 1) of the examples with texts as "val", unless the data has a split "val" already.

    The choice depends only on the hash of each name, so adding examples does not move others, unless the limit `most` is reached.
    At least twenty are held out, or a quarter if there are fewer than eighty; two are always left, and of fewer than eight none is taken.
    """
    fractions = {example.name: _fraction(example.name) for example in examples if example.texts}
    if share == 0 or len(fractions) < _FEWEST or any(example.split == "val" for example in examples):
        return tuple(examples)
    ordered = sorted(fractions, key=fractions.__getitem__)
    count = max(sum(fraction < share for fraction in fractions.values()), min(20, len(ordered) // 4))
    held = set(ordered[: min(count, len(ordered) - 2, most or len(ordered))])
    return tuple(replace(example, split="val") if example.name in held else example for example in examples)


def _fraction(name: str) -> float:
    """A number in [0, 1) that depends only on the name, uniformly distributed."""
    return int.from_bytes(hashlib.sha256(f"0:{name}".encode()).digest()[:6], "big") / 2**48


def key_of(value: object) -> str:
    """16 hexadecimal digits that identify a value of plain types and dataclasses."""
    return hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()[:16]


def hash_pictures(examples: Sequence[Example]) -> list[str]:
    """The SHA-256 of the bytes of each picture, or "" if it cannot be read. Reads every picture once."""

    def digest(example: Example) -> str:
        try:
            return hashlib.sha256(example.read()).hexdigest()
        except OSError:
            return ""

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(digest, examples))


def pictures_key(examples: Sequence[Example], hashes: Sequence[str]) -> str:
    """A key of the names and bytes of all pictures, in order."""
    return key_of([[example.name for example in examples], hashes])
