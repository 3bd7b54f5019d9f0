"""Pictures a second through the embedded model: the machine's fast dtype against float32, both in one run.

`python benchmarks/bench_encode.py`; decoding is not counted. The last line printed is one JSON document.
"""

import json
import statistics
import time

import numpy as np
import torch

from coca_model import Encoder, load

PICTURES, ROUNDS = 64, 7


def main() -> None:
    """Check that both give the same vectors, then time them in turn."""
    default, exact = load(), load(dtype=torch.float32)
    size = default.config.image.image_size
    rows, columns = np.mgrid[0:size, 0:size]
    waves = np.random.default_rng(0).uniform(0.01, 0.2, (PICTURES, 3, 2))
    pixels = np.stack([np.stack([127 + 127 * np.sin(a * rows + b * columns) for a, b in wave], axis=-1) for wave in waves]).astype(np.uint8)
    cosine = float((default.encode_pixels(pixels) * exact.encode_pixels(pixels)).sum(1).min())
    assert cosine > 0.99, f"the two disagree (cosine {cosine})"
    seconds = {"default": [], "float32": []}
    for _ in range(ROUNDS):
        seconds["default"].append(timed(default, pixels))
        seconds["float32"].append(timed(exact, pixels))
    speed = {name: round(PICTURES / statistics.median(values), 1) for name, values in seconds.items()}
    ratio = statistics.median(b / a for a, b in zip(seconds["default"], seconds["float32"], strict=True))
    print(
        json.dumps({"pictures_per_second": speed, "ratio": round(ratio, 2), "dtype": str(default.dtype), "least_cosine": round(cosine, 5)})
    )


def timed(encoder: Encoder, pixels: np.ndarray) -> float:
    """Seconds for one pass over the pixels."""
    since = time.perf_counter()
    encoder.encode_pixels(pixels)
    return time.perf_counter() - since


if __name__ == "__main__":
    main()
