"""Pictures per second: our `coca_ViT-B-32` against open_clip's with the same weights, and the embedded checkpoint. `make bench`.

Pixels to vectors, without the decoding of files, 32 pictures in a batch. The last line printed is one JSON document.
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.measure.result import Result, print_result, threads
from benchmarks.measure.timing import rate, ratio, seconds_of
from benchmarks.open_clip_side import crops, our_encoder, their_model, their_pixels
from coca_model import load

NAME, PICTURES, BATCH, ROUNDS = "coca_ViT-B-32", 64, 32, 7
SMALL_PICTURES, SMALL_ROUNDS = 4, 1


def measure(small: bool = False) -> Result:
    """Check that all sides of one model give the same vectors, then time all in turn."""
    count, rounds = (SMALL_PICTURES, SMALL_ROUNDS) if small else (PICTURES, ROUNDS)
    theirs = their_model(NAME)
    ours, ours_exact, embedded = our_encoder(NAME, theirs, torch.bfloat16), our_encoder(NAME, theirs, torch.float32), load()
    pixels = crops(count, ours.config.image.image_size)
    batches = their_pixels(pixels, NAME).split(BATCH)
    half, half_batches = copy.deepcopy(theirs).bfloat16(), [batch.bfloat16() for batch in batches]

    @torch.inference_mode()
    def encode(model: Any, pictures: list[torch.Tensor]) -> np.ndarray:
        return torch.cat([F.normalize(model.encode_image(batch).float(), dim=-1) for batch in pictures]).numpy()

    sides: dict[str, Callable[[], Any]] = {
        "open_clip float32": lambda: encode(theirs, batches),
        "open_clip bfloat16": lambda: encode(half, half_batches),
        "ours float32": lambda: ours_exact.encode_pixels(pixels),
        "ours bfloat16": lambda: ours.encode_pixels(pixels),
        f"embedded {embedded.dtype}".replace("torch.", ""): lambda: embedded.encode_pixels(pixels),
    }
    exact = sides["open_clip float32"]()
    cosines = {name: float((run() * exact).sum(1).min()) for name, run in list(sides.items())[:4]}
    assert cosines["ours float32"] > 1 - 1e-5, cosines
    assert cosines["ours bfloat16"] > 0.999, cosines
    seconds = seconds_of(sides, rounds)
    pairs = [("ours bfloat16", "open_clip float32"), ("ours bfloat16", "open_clip bfloat16"), ("ours float32", "open_clip float32")]
    return Result(
        "encode",
        f"Pictures per second of the image tower of {NAME} with random weights, and of the embedded checkpoint, from pixels to vectors.",
        {name: {"pictures_per_second": rate(values, count)} for name, values in seconds.items()},
        {f"{one} to {other}": ratio(seconds, one, other) for one, other in pairs},
        {f"least cosine of {name} to open_clip float32": cosine for name, cosine in list(cosines.items())[1:]},
        {"pictures": count, "batch": BATCH},
        threads(),
    )


if __name__ == "__main__":
    print_result(measure, __doc__)
