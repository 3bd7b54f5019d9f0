"""Captions a second: our `coca_ViT-B-32` against open_clip's `generate`, same weights, pixels to token ids. `make bench`.

The weights are random, so that sentences hardly ever end by themselves and both sides write the same number of words. Greedy
decoding must give the same words on both sides; open_clip's beam search adds up raw logits and cannot be compared word by word.
The last line printed is one JSON document.
"""

import torch

from benchmarks.open_clip_side import crops, open_clip, our_encoder, their_model, their_pixels
from benchmarks.result import Result, print_result, threads
from benchmarks.side_by_side import rate, ratio, seconds_of
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
    their_common = {"seq_len": TOKENS + 2, "min_seq_len": TOKENS + 1}  # theirs counts start and end

    sides = {
        "open_clip greedy": lambda: theirs.generate(batch, generation_type="top_k", top_k=1, **their_common),
        "ours greedy float32": lambda: ours_exact.caption(list(pixels), greedy),
        "ours greedy bfloat16": lambda: ours.caption(list(pixels), greedy),
        "open_clip beam": lambda: theirs.generate(batch, num_beams=BEAMS, num_beam_groups=1, **their_common),
        "ours beam float32": lambda: ours_exact.caption(list(pixels), beam),
        "ours beam bfloat16": lambda: ours.caption(list(pixels), beam),
    }
    decode = open_clip().get_tokenizer(NAME).decode
    theirs_said = [decode(row[1:-1].tolist()).strip() for row in sides["open_clip greedy"]()]
    ours_said = sides["ours greedy float32"]()
    same = sum(one == other for one, other in zip(theirs_said, ours_said, strict=True))
    assert same == count, list(zip(theirs_said, ours_said, strict=True))
    seconds = seconds_of(sides, rounds)
    pairs = [(f"ours {method} {dtype}", f"open_clip {method}") for method in ("greedy", "beam") for dtype in ("float32", "bfloat16")]
    return Result(
        "caption",
        f"Captions a second of {NAME} with random weights: {TOKENS} words each, greedily and with {BEAMS} beams.",
        {name: {"captions_per_second": rate(values, count)} for name, values in seconds.items()},
        {f"{one} to {other}": ratio(seconds, one, other) for one, other in pairs},
        {"greedy captions with the same words": same},
        {"pictures": count, "tokens": TOKENS, "beams": BEAMS},
        threads(),
    )


if __name__ == "__main__":
    print_result(measure, __doc__)
