"""Files that hold what was computed once: named after all that it depends on, and there whole or not at all."""

import hashlib
import json
from pathlib import Path

import torch


def key_of(value: object) -> str:
    """16 hexadecimal digits that stand for `value` in the name of what was computed from it."""
    return hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()[:16]


def write_whole(path: Path, value: object) -> None:
    """`torch.save` to a file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(value, partial)
    partial.replace(path)
