"""The options of caption generation. This module does not import torch, so that the command line starts fast."""

from dataclasses import dataclass
from typing import Literal, get_args

Method = Literal["beam", "greedy", "sample", "contrastive"]


@dataclass(frozen=True)
class CaptionOptions:
    """How a caption is generated.

    `beam` is beam search; `greedy` takes the likeliest token; `sample` draws one; `contrastive` is contrastive search, which takes
    a likely token whose hidden state differs from the earlier ones (Su et al. 2022, equation 5).
    """

    method: Method = "beam"
    max_tokens: int = 24  # also limited by the context of the model
    min_tokens: int = 0
    no_repeat: int = 3  # no run of this many tokens occurs twice, and no token twice in a row; 0 allows repetition
    beams: int = 4  # of beam search
    length_penalty: float = 0.7  # beam search ranks whole sentences by log p / length ** length_penalty (Wu et al. 2016, section 7)
    temperature: float = 1.0  # of sampling
    top_k: int = 0  # sampling and contrastive search choose among this many of the likeliest tokens (0: all, or 5)
    top_p: float = 1.0  # nucleus sampling: draw from the fewest tokens with this total probability (Holtzman et al. 2020)
    degeneration_penalty: float = 0.6  # weight of the similarity penalty in contrastive search
    guidance: float | None = None  # weight of `generate.GuidedDecoder`; None for the default of `encoder.Encoder.caption_options`
    seed: int = 0  # of sampling

    def __post_init__(self) -> None:
        allowed = {
            "method": (self.method in get_args(Method), ", ".join(get_args(Method))),
            "max_tokens": (self.max_tokens >= 1, "1 or more"),
            "min_tokens": (0 <= self.min_tokens <= self.max_tokens, f"0 to max_tokens ({self.max_tokens})"),
            "no_repeat": (self.no_repeat >= 0, "0 or more"),
            "beams": (self.beams >= 1, "1 or more"),
            "length_penalty": (self.length_penalty >= 0, "0 or more"),
            "temperature": (self.temperature > 0, "above 0"),
            "top_k": (self.top_k >= 0, "0 (all) or more"),
            "top_p": (0 < self.top_p <= 1, "above 0, at most 1"),
            "degeneration_penalty": (0 <= self.degeneration_penalty <= 1, "0 to 1"),
            "guidance": (self.guidance is None or self.guidance > 0, "above 0 (1 is none)"),
        }
        for name, (fits, what) in allowed.items():
            if not fits:
                raise ValueError(f"{name} does not fit ({getattr(self, name)!r}). Allowed: {what}.")
