"""Captions per second: our `coca_ViT-B-32` against open_clip's `generate`, with the same weights, from pixels to words. `make bench`.

The weights are random, so sentences hardly ever end early, and both sides write the same number of words. Greedy decoding must give the
same words on both sides. Beam search is not compared word by word, because open_clip sums raw logits instead of log p.
The last line printed is one JSON document.
"""

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.measure.result import Result, print_result, threads
from benchmarks.measure.timing import rate, ratio, seconds_of
from benchmarks.open_clip_side import crops, open_clip, our_encoder, their_model, their_pixels
from coca_model import CaptionOptions

NAME, PICTURES, TOKENS, BEAMS, ROUNDS = "coca_ViT-B-32", 8, 20, 6, 2
SMALL_PICTURES, SMALL_ROUNDS = 1, 1


def measure(small: bool = False) -> Result:
    """Check that greedy captions agree, then time greedy decoding and beam search in turn."""
    count, rounds = (SMALL_PICTURES, SMALL_ROUNDS) if small else (PICTURES, ROUNDS)
    theirs = their_model(NAME)
    ours, ours_exact = our_encoder(NAME, theirs, torch.bfloat16), our_encoder(NAME, theirs, torch.float32)
    pixels = crops(count, ours.config.image.image_size)
    batch = their_pixels(pixels, NAME)
    common = {"max_tokens": TOKENS, "min_tokens": TOKENS, "no_repeat": 0}
    greedy, beam = CaptionOptions("greedy", **common), CaptionOptions("beam", beams=BEAMS, length_penalty=1.0, **common)
    their_common = {"seq_len": TOKENS + 2, "min_seq_len": TOKENS + 1}  # open_clip counts the start and end tokens

    sides: dict[str, Callable[[], Any]] = {
        "open_clip greedy": lambda: theirs.generate(batch, generation_type="top_k", top_k=1, **their_common),
        "ours greedy float32": lambda: ours_exact.caption(list(pixels), greedy),
        "ours greedy bfloat16": lambda: ours.caption(list(pixels), greedy),
        "open_clip beam": lambda: theirs.generate(batch, num_beams=BEAMS, num_beam_groups=1, **their_common),
        "ours beam float32": lambda: ours_exact.caption(list(pixels), beam),
        "ours beam bfloat16": lambda: ours.caption(list(pixels), beam),
    }
    decode = open_clip().get_tokenizer(NAME).decode
    their_captions = [decode(row[1:-1].tolist()).strip() for row in sides["open_clip greedy"]()]
    captions = list(zip(their_captions, sides["ours greedy float32"](), strict=True))
    same = sum(one == other for one, other in captions)
    assert same == count, captions
    seconds = seconds_of(sides, rounds)
    pairs = [(f"ours {method} {dtype}", f"open_clip {method}") for method in ("greedy", "beam") for dtype in ("float32", "bfloat16")]
    return Result(
        "caption",
        f"Captions per second of {NAME} with random weights: {TOKENS} words each, by greedy decoding and with {BEAMS} beams.",
        {name: {"captions_per_second": rate(values, count)} for name, values in seconds.items()},
        {f"{one} to {other}": ratio(seconds, one, other) for one, other in pairs},
        {"greedy captions with the same words": same},
        {"pictures": count, "tokens": TOKENS, "beams": BEAMS},
        threads(),
    )


if __name__ == "__main__":
    print_result(measure, __doc__)
