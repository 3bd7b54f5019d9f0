"""Chooses the examples of a training run: leaves out unused sources, merges duplicates, and holds some pictures out."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from training.examples.example import Example, Examples, Skipped
from training.examples.hashes import hash_pictures, pictures_key
from training.ranks import Ranks
from training.recipe import Recipe

_FEWEST = 8  # with fewer captioned pictures, none is held out for validation
_MOST_VALIDATED = 5000  # enough to know recall to about a point; every validation reads all of them


@dataclass(frozen=True)
class Selection:
    """The examples of a training run.

    Attributes:
        examples: each with its split: "train", "val" for validation, or "test" if neither may use it.
        pictures: the key of their names and bytes.
        skipped: duplicates that were left out, and what the readers skipped.
    """

    examples: tuple[Example, ...]
    pictures: str
    skipped: tuple[Skipped, ...]


def select_examples(data: Examples, recipe: Recipe, ranks: Ranks) -> Selection:
    """Choose and split the examples as the recipe says. The leading rank reads every picture once, for its hash."""
    used = [example for example in data.examples if recipe.source(example.source).share != 0]
    merged, hashes, duplicates = merge(used, ranks.first(lambda: hash_pictures(used)))
    return Selection(split_examples(merged, recipe), pictures_key(merged, hashes), (*data.skipped, *duplicates))


def merge(examples: Sequence[Example], hashes: Sequence[str]) -> tuple[list[Example], list[str], list[Skipped]]:
    """Merge rows with the same picture into one example with all texts, for data sets with a row for each caption.

    A picture that is held out in one row is trained on in none. All texts of a picture have the kind of its first row.

    Args:
        hashes: of the bytes of each picture; "" for an unreadable picture, which equals no other.

    Returns:
        The examples, their hashes, and the rows that were left out.
    """
    held_out = {digest for digest, example in zip(hashes, examples, strict=True) if digest and example.split == "val"}
    merged, hash_of, skipped = dict[str, Example](), dict[str, str](), list[Skipped]()
    for digest, example in zip(hashes, examples, strict=True):
        key = digest or example.name
        if digest in held_out and example.split != "val":
            skipped.append(Skipped(example.name, "its picture is held out in another row"))
        elif key not in merged:
            merged[key], hash_of[key] = example, digest
        elif merged[key].kind == example.kind:
            merged[key] = replace(merged[key], texts=tuple(dict.fromkeys((*merged[key].texts, *example.texts))))
        else:
            skipped.append(Skipped(example.name, f"the same picture as {merged[key].name}, with texts of another kind"))
    return list(merged.values()), list(hash_of.values()), skipped


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


def hold_out(examples: Sequence[Example], *, share: float, most: int | None = None, seed: int = 0) -> tuple[Example, ...]:
    """Mark about a `share` of the examples with texts as "val", unless the data has a split "val" already.

    The choice depends only on the hash of each name, so adding examples does not move others, unless the limit `most` is reached.
    At least twenty are held out, or a quarter if there are fewer than eighty; two are always left, and of fewer than eight none is taken.

    Raises:
        ValueError: `share` is outside [0, 1).
    """
    if not 0 <= share < 1:
        raise ValueError(f"The share of pictures to hold out is out of range ({share}). Allowed: 0 (none) up to, but not including, 1.")
    ranks = {example.name: _fraction(example.name, seed) for example in examples if example.texts}
    if share == 0 or len(ranks) < _FEWEST or any(example.split == "val" for example in examples):
        return tuple(examples)
    ordered = sorted(ranks, key=ranks.__getitem__)
    count = max(sum(rank < share for rank in ranks.values()), min(20, len(ordered) // 4))
    held = set(ordered[: min(count, len(ordered) - 2, len(ordered) if most is None else most)])
    return tuple(replace(example, split="val") if example.name in held else example for example in examples)


def _fraction(name: str, seed: int) -> float:
    """A number in [0, 1) that depends only on the name and the seed, uniformly distributed."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
