"""Captions per second: our `coca_ViT-B-32` against open_clip's `generate`, with the same weights, from pixels to words.

With random weights, sentences hardly ever end early, so both sides write the same number of words. Greedy decoding must give the same
words on both sides. Beam search is not compared word by word, because open_clip sums raw logits instead of log p.
"""

from collections.abc import Callable
from typing import Any

from benchmarks.measure.result import Result
from benchmarks.measure.timing import rates, ratios, seconds_of
from benchmarks.open_clip_side import NAME, both_sides, open_clip
from coca_model import CaptionOptions

TOKENS, BEAMS = 20, 6


def measure(small: bool = False) -> Result:
    """Check that greedy captions agree, then time greedy decoding and beam search in turn."""
    count, rounds = (1, 1) if small else (8, 2)
    theirs, ours, exact, pixels, batch = both_sides(count)
    pictures = list(pixels)
    common = {"max_tokens": TOKENS, "min_tokens": TOKENS, "no_repeat": 0}
    greedy, beam = CaptionOptions("greedy", **common), CaptionOptions("beam", beams=BEAMS, length_penalty=1.0, **common)
    their_common = {"seq_len": TOKENS + 2, "min_seq_len": TOKENS + 1}  # open_clip counts the start and end tokens
    sides: dict[str, Callable[[], Any]] = {
        "open_clip greedy": lambda: theirs.generate(batch, generation_type="top_k", top_k=1, **their_common),
        "ours greedy float32": lambda: exact.caption(pictures, greedy),
        "ours greedy bfloat16": lambda: ours.caption(pictures, greedy),
        "open_clip beam": lambda: theirs.generate(batch, num_beams=BEAMS, num_beam_groups=1, **their_common),
        "ours beam float32": lambda: exact.caption(pictures, beam),
        "ours beam bfloat16": lambda: ours.caption(pictures, beam),
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
        rates(seconds, "captions_per_second", count),
        ratios(seconds, *pairs),
        {"greedy captions with the same words": same},
        {"pictures": count, "tokens": TOKENS, "beams": BEAMS},
    )
