"""Pictures per second: our `coca_ViT-B-32` against open_clip's with the same weights, and the embedded checkpoint.

Pixels to vectors, without the decoding of files, 32 pictures in a batch.
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.measure.result import Result
from benchmarks.measure.timing import rates, ratios, seconds_of
from benchmarks.open_clip_side import NAME, both_sides
from coca_model import load

BATCH = 32


def measure(small: bool = False) -> Result:
    """Check that all sides give the same vectors for the same weights, then time all in turn."""
    count, rounds = (4, 1) if small else (64, 7)
    (theirs, ours, exact, pixels, batch), embedded = both_sides(count), load()
    half = copy.deepcopy(theirs).bfloat16()

    @torch.inference_mode()
    def encode(model: Any, pictures: torch.Tensor) -> np.ndarray:
        return torch.cat([F.normalize(model.encode_image(part).float(), dim=-1) for part in pictures.split(BATCH)]).numpy()

    half_batch = batch.bfloat16()
    sides: dict[str, Callable[[], Any]] = {
        "open_clip float32": lambda: encode(theirs, batch),
        "open_clip bfloat16": lambda: encode(half, half_batch),
        "ours float32": lambda: exact.encode_pixels(pixels),
        "ours bfloat16": lambda: ours.encode_pixels(pixels),
        f"embedded {embedded.dtype}".replace("torch.", ""): lambda: embedded.encode_pixels(pixels),
    }
    expected = sides["open_clip float32"]()
    cosines = {name: float((run() * expected).sum(1).min()) for name, run in list(sides.items())[1:4]}
    assert cosines["ours float32"] > 1 - 1e-5, cosines
    assert cosines["ours bfloat16"] > 0.999, cosines
    seconds = seconds_of(sides, rounds)
    pairs = [("ours bfloat16", "open_clip float32"), ("ours bfloat16", "open_clip bfloat16"), ("ours float32", "open_clip float32")]
    return Result(
        "encode",
        f"Pictures per second of the image tower of {NAME} with random weights, and of the embedded checkpoint, from pixels to vectors.",
        rates(seconds, "pictures_per_second", count),
        ratios(seconds, *pairs),
        {f"least cosine of {name} to open_clip float32": cosine for name, cosine in cosines.items()},
        {"pictures": count, "batch": BATCH},
    )
