"""log p(text | image) of M pictures and N texts: ours against open_clip's forward, with the same weights.

open_clip has no function for this. Its side is the code that a user would write: image tokens once, then the decoders for each picture
with all texts.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.measure.result import Result
from benchmarks.measure.timing import rates, ratios, seconds_of
from benchmarks.open_clip_side import NAME, both_sides, open_clip

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
    count, rounds = (2, 1) if small else (16, 5)
    theirs, ours, exact, pixels, batch = both_sides(count)
    pictures, tokens = list(pixels), ours.encode_image_tokens(list(pixels))
    token_ids = open_clip().get_tokenizer(NAME)(TEXTS)
    token_ids = token_ids[:, : int((token_ids != 0).sum(1).max())]
    sides: dict[str, Callable[[], Any]] = {
        "open_clip": lambda: their_scores(theirs, batch, token_ids),
        "ours float32": lambda: exact.score(pictures, TEXTS),
        "ours bfloat16": lambda: ours.score(pictures, TEXTS),
        "ours bfloat16, image tokens kept": lambda: ours.score(tokens, TEXTS),
    }
    expected = sides["open_clip"]()
    differences = {dtype: float(np.abs(sides[f"ours {dtype}"]() - expected).max()) for dtype in ("float32", "bfloat16")}
    assert differences["float32"] < 1e-4 * np.abs(expected).max(), differences
    seconds = seconds_of(sides, rounds)
    return Result(
        "score",
        f"log p(text | picture) of {NAME} with random weights: pairs per second, for {count} pictures and {len(TEXTS)} texts.",
        rates(seconds, "pairs_per_second", count * len(TEXTS)),
        ratios(seconds, *((name, "open_clip") for name in list(sides)[1:])),
        {f"largest difference in {dtype}": difference for dtype, difference in differences.items()}
        | {"least score": float(expected.min()), "greatest score": float(expected.max())},
        {"pictures": count, "texts": len(TEXTS)},
    )
