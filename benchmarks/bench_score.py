"""log p(text | image) of M pictures and N texts: ours against open_clip's forward, with the same weights. `make bench`.

open_clip has no function for it. Its side is what a user would write with it: image tokens once, then the decoders for each picture with
all texts. The last line printed is one JSON document.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.measure.result import Result, print_result, threads
from benchmarks.measure.timing import rate, ratio, seconds_of
from benchmarks.open_clip_side import crops, open_clip, our_encoder, their_model, their_pixels

NAME, PICTURES, ROUNDS = "coca_ViT-B-32", 16, 5
SMALL_PICTURES, SMALL_ROUNDS = 2, 1
TEXTS = [f"{number} {animal} {place}" for number in ("a", "two") for animal in ("dog", "cat") for place in ("on the beach", "at home")]


@torch.inference_mode()
def their_scores(model: Any, pixels: torch.Tensor, token_ids: torch.Tensor) -> np.ndarray:
    """Scores by open_clip's forward, float32 (M, N). token_ids: (N, T), cut to the longest text."""
    latents, tokens = model._encode_image(pixels)
    rows = []
    for latent, embs in zip(latents, tokens, strict=True):
        repeated = {"image_latent": latent.expand(len(token_ids), -1), "image_embs": embs.expand(len(token_ids), -1, -1)}
        logits = model(None, token_ids, **repeated)["logits"]
        rows.append(-F.cross_entropy(logits.mT, token_ids[:, 1:], ignore_index=0, reduction="none").sum(1))
    return torch.stack(rows).numpy()


def measure(small: bool = False) -> Result:
    """Check that the scores agree, then time both sides in turn."""
    count, rounds = (SMALL_PICTURES, SMALL_ROUNDS) if small else (PICTURES, ROUNDS)
    theirs = their_model(NAME)
    ours, ours_exact = our_encoder(NAME, theirs, torch.bfloat16), our_encoder(NAME, theirs, torch.float32)
    pixels = crops(count, ours.config.image.image_size)
    batch, pictures = their_pixels(pixels, NAME), list(pixels)
    token_ids = open_clip().get_tokenizer(NAME)(TEXTS)
    token_ids = token_ids[:, : int((token_ids != 0).sum(1).max())]
    kept = ours.encode_image_tokens(pictures)
    sides: dict[str, Callable[[], Any]] = {
        "open_clip": lambda: their_scores(theirs, batch, token_ids),
        "ours float32": lambda: ours_exact.score(pictures, TEXTS),
        "ours bfloat16": lambda: ours.score(pictures, TEXTS),
        "ours bfloat16, image tokens kept": lambda: ours.score(kept, TEXTS),
    }
    exact = sides["open_clip"]()
    difference = float(np.abs(sides["ours float32"]() - exact).max())
    assert difference < 1e-4 * np.abs(exact).max(), difference
    seconds = seconds_of(sides, rounds)
    return Result(
        "score",
        f"log p(text | picture) of {NAME} with random weights: pairs per second, for {count} pictures and {len(TEXTS)} texts.",
        {name: {"pairs_per_second": rate(values, count * len(TEXTS))} for name, values in seconds.items()},
        {f"{name} to open_clip": ratio(seconds, name, "open_clip") for name in list(sides)[1:]},
        {
            "largest difference in float32": difference,
            "largest difference in bfloat16": float(np.abs(sides["ours bfloat16"]() - exact).max()),
            "least score": float(exact.min()),
            "greatest score": float(exact.max()),
        },
        {"pictures": count, "texts": len(TEXTS)},
        threads(),
    )


if __name__ == "__main__":
    print_result(measure, __doc__)
