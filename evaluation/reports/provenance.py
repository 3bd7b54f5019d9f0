"""The part of a report's metadata that every task writes: model, arithmetic, versions, and a digest of the data."""

import hashlib
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

from coca_model import Encoder


def model_name(encoder: Encoder) -> str:
    """The model's name for people, without the digest of the weights."""
    return encoder.model_id.split("@")[0]


def provenance(encoder: Encoder) -> dict[str, Any]:
    """The model, its arithmetic, and the versions of the programs."""
    return {
        "model": encoder.model_id,
        "preprocessing": encoder.preprocessing_id,
        "dtype": str(encoder.dtype).removeprefix("torch."),
        "device": encoder.device.type,
        "coca-search": version("coca-search"),
        "torch": version("torch"),
    }


def digest(parts: Iterable[bytes | str]) -> str:
    """A short digest of a data set. Two reports with the same digest measured the same data."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()[:16]
