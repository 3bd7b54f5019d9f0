"""A new attentional pooler on the frozen encoder: the paper's frozen setting (Yu et al. 2022, sections 3.2 and 4.2).

The frozen encoder sees each frame alone. One learned query attends to the tokens of all frames, and a linear layer gives the
logits. The tokens are those of `Encoder.encode_image_tokens`, which the caption decoder reads. They are cached as float16 and
loaded batch by batch, so that memory does not grow with the data set.

Axes: B batch, N frames, Q tokens of a frame, D width, C classes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from coca_model import Encoder
from coca_model.architecture.poolers import AttentionalPooler
from evaluation.features.cache import Arrays
from evaluation.features.extract import Decoded, Feature, Features
from indexer.segments import CLIP_FRAMES


def _tokens(encoder: Encoder, pixels: NDArray[np.uint8]) -> NDArray[np.generic]:
    return encoder.encode_image_tokens(list(pixels)).tokens.to(torch.float16).cpu().numpy()


def _keep(tokens: NDArray[np.generic], decoded: Decoded) -> Arrays:
    """16 frames of a video, some twice if it has fewer; one of a picture, which has no duration."""
    return {"tokens": tokens[spread(len(tokens), CLIP_FRAMES if decoded.duration_seconds or len(tokens) > 1 else 1)]}


TOKENS = Feature("tokens of 16 frames", _tokens, _keep)


@dataclass(frozen=True)
class TrainingOptions:
    """How the pooler is trained: AdamW, a short warm-up, and a cosine schedule to zero."""

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.05  # share of all steps
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
    with torch.random.fork_rng(devices=[]):  # the weights are initialised on the CPU
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
    """float32 (B, N * Q, D) of some media, from the cache. Media with fewer frames than others repeat them."""
    loaded = [row["tokens"] for row in features.load(rows)]
    most = max(len(tokens) for tokens in loaded)
    batch = np.stack([tokens[spread(len(tokens), most)] for tokens in loaded])  # (B, N, Q, D)
    return torch.from_numpy(batch).to(device).float().flatten(1, 2)  # (B, N * Q, D)


def spread(count: int, wanted: int) -> NDArray[np.int64]:
    """`wanted` uniformly spaced indices of `count` frames, int64."""
    return np.linspace(0, count - 1, wanted).round().astype(np.int64)


def _rate(step: int, steps: int, warmup: float) -> float:
    warm = max(1, round(warmup * steps))
    return (step + 1) / warm if step < warm else (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2
