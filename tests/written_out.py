"""Building blocks for the reference losses in tests, in plain Python numbers."""

import math

import torch
from torch.nn import functional as F


def unit(count, width=5):
    """Random rows of L2 norm 1, float64 (count, width)."""
    return F.normalize(torch.randn(count, width, dtype=torch.float64), dim=-1)


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def softmax(values):
    powers = [math.exp(value) for value in values]
    return [power / sum(powers) for power in powers]
