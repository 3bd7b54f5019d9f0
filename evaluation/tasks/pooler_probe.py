"""A new attentional pooler on the frozen encoder: the paper's frozen setting (Yu et al. 2022, sections 3.2 and 4.2).

Every frame goes through the frozen encoder by itself; one learned query looks at the tokens of all frames, and a linear layer
makes logits of what it found. The tokens are those that `Encoder.encode_image_tokens` gives, what the caption decoder reads.
They stay in the cache as float16 and are loaded batch by batch, so that memory does not grow with the data set.

Axes: B batch, N frames, Q tokens of a frame, D width, C classes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from coca_model import Encoder
from coca_model.pooler import AttentionalPooler
from evaluation.features.cache import Arrays
from evaluation.features.extract import Decoded, Feature, Features
from indexer.sample import CLIP_FRAMES


def _tokens(encoder: Encoder, pixels: NDArray[np.uint8]) -> NDArray[np.generic]:
    return cast(NDArray[np.generic], encoder.encode_image_tokens(list(pixels)).tokens.to(torch.float16).cpu().numpy())


def _keep(tokens: NDArray[np.generic], decoded: Decoded) -> Arrays:
    """16 frames of a video, some of them twice where it has fewer; one of a picture, which has no duration."""
    frames = spread(len(tokens), CLIP_FRAMES if decoded.duration_seconds or len(tokens) > 1 else 1)
    return {"tokens": tokens[frames]}


TOKENS = Feature("tokens of 16 frames", _tokens, _keep)


@dataclass(frozen=True)
class TrainingOptions:
    """How the pooler is trained: AdamW, a short warm-up, and a cosine to zero."""

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.05  # of all steps
    seed: int = 0


class PoolerProbe(nn.Module):
    """Tokens (B, S, D) -> logits (B, C)."""

    def __init__(self, width: int, heads: int, num_classes: int) -> None:
        super().__init__()
        self.pooler = AttentionalPooler(1, width, heads, context_width=width)
        self.classify = nn.Linear(width, num_classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, S, D), S = N * Q -> logits (B, C)."""
        logits: Tensor = self.classify(self.pooler(tokens)[:, 0])
        return logits


def train_pooler(
    features: Features,
    labels: NDArray[np.int64],
    num_classes: int,
    options: TrainingOptions,
    *,
    heads: int,
    device: torch.device,
    on_epoch: Callable[[int, int], None] = lambda done, total: None,
) -> PoolerProbe:
    """Train on `TOKENS` features and labels (N,). The same seed gives the same probe on the same machine."""
    width = features.load([0])[0]["tokens"].shape[-1]
    with torch.random.fork_rng(devices=[]):  # the weights are made on the CPU
        torch.manual_seed(options.seed)
        probe = PoolerProbe(width, heads, num_classes).to(device)
    optimiser = torch.optim.AdamW(probe.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    random = np.random.default_rng(options.seed)
    steps = options.epochs * math.ceil(len(labels) / options.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps, options.warmup))
    for epoch in range(options.epochs):
        order = random.permutation(len(labels))
        for start in range(0, len(order), options.batch_size):
            rows = order[start : start + options.batch_size]
            logits = probe(load_tokens(features, rows.tolist(), device))
            loss = F.cross_entropy(logits, torch.from_numpy(labels[rows]).to(device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        on_epoch(epoch + 1, options.epochs)
    return probe.eval()


@torch.inference_mode()
def pooler_scores(probe: PoolerProbe, features: Features, rows: Sequence[int]) -> NDArray[np.float32]:
    """Logits float32 (B, C) of some media."""
    return probe(load_tokens(features, rows, probe.classify.weight.device)).float().cpu().numpy()


def load_tokens(features: Features, rows: Sequence[int], device: torch.device) -> Tensor:
    """float32 (B, N * Q, D) of some media, from the cache; those with fewer frames repeat them."""
    loaded = [row["tokens"] for row in features.load(rows)]
    most = max(len(tokens) for tokens in loaded)
    batch = np.stack([tokens[spread(len(tokens), most)] for tokens in loaded])  # (B, N, Q, D)
    return torch.from_numpy(batch).to(device).float().flatten(1, 2)  # (B, N * Q, D)


def spread(have: int, want: int) -> NDArray[np.int64]:
    """`want` uniformly spaced indices of `have` frames, int64."""
    return np.linspace(0, have - 1, want).round().astype(np.int64)


def _rate(step: int, steps: int, warmup: float) -> float:
    warm = max(1, round(warmup * steps))
    return (step + 1) / warm if step < warm else (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2
