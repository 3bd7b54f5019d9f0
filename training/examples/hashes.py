"""Hashes that identify pictures, and short keys for the names of files that depend on them."""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from training.examples.example import Example


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


def pictures_key(examples: Sequence[Example], hashes: Sequence[str] | None = None) -> str:
    """A key of the names and bytes of all pictures, in order. Computes the `hash_pictures` if they are not given."""
    return key_of([[example.name for example in examples], hashes or hash_pictures(examples)])
