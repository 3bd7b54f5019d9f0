"""MobileNetV2 without its classifier (Sandler et al. 2018), as the convolutional stem of the image encoder.

A frozen stem that already knows a thousand classes lets the small transformer above it learn from few pictures. Batch
norm is folded into the biases, and the padding is TensorFlow's SAME, because that is how the weights were published.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

OUT_CHANNELS = 1280
STRIDE = 32
_SIX_AS_BITS = {torch.bfloat16: 0x40C0, torch.float16: 0x4600}

# Expansion factor, output channels, repeats, first stride (Sandler et al. 2018, table 2).
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class MobileNetV2(nn.Module):
    """The convolutions of the classifier, width multiplier 1."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _convolution(3, 32, size=3, stride=2)
        blocks: list[nn.Module] = []
        channels = 32
        for expansion, out_channels, repeats, first_stride in _STAGES:
            for repeat in range(repeats):
                blocks.append(_InvertedResidual(channels, out_channels, first_stride if repeat == 0 else 1, expansion))
                channels = out_channels
        self.blocks = nn.ModuleList(blocks)
        self.head = _convolution(channels, OUT_CHANNELS)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) in -1..1 -> map (B, 1280, H/32, W/32), 0..6."""
        x = _relu6(self.stem(_same_padding(pixels)))  # (B, 32, H/2, W/2)
        for block in self.blocks:
            x = block(x)
        return _relu6(self.head(x))  # (B, 1280, H/32, W/32)


class _InvertedResidual(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.stride = stride
        self.residual = stride == 1 and in_channels == out_channels
        self.expand = _convolution(in_channels, hidden) if expansion > 1 else None
        self.depthwise = _convolution(hidden, hidden, size=3, stride=stride, groups=hidden)
        self.project = _convolution(hidden, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        hidden = x if self.expand is None else _relu6(self.expand(x))
        hidden = _relu6(self.depthwise(hidden if self.stride == 1 else _same_padding(hidden)))
        hidden = self.project(hidden)
        return x + hidden if self.residual else hidden


def _convolution(in_channels: int, out_channels: int, *, size: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    padding = size // 2 if stride == 1 else 0  # at stride 2 SAME is lopsided, see _same_padding
    return nn.Conv2d(in_channels, out_channels, size, stride, padding, groups=groups)


def _same_padding(x: Tensor) -> Tensor:
    """TensorFlow's SAME for a 3x3 kernel at stride 2: one pixel right and below."""
    return F.pad(x, (0, 1, 0, 1))


def _relu6(x: Tensor) -> Tensor:
    if x.requires_grad or torch.is_grad_enabled():
        return F.relu6(x)
    if x.dtype in _SIX_AS_BITS and x.device.type == "cpu":
        x.view(torch.int16).clamp_(0, _SIX_AS_BITS[x.dtype])  # four times as fast: non-negative floats are ordered like their bits
        return x
    return F.relu6(x, inplace=True)


def load_classifier(weights: dict[str, Tensor]) -> nn.Linear:
    """The thousand-class classifier over the mean of the map; used in training only, to teach what the stem knows."""
    classifier = nn.Linear(OUT_CHANNELS, weights["classifier.bias"].numel())
    with torch.no_grad():
        classifier.weight.copy_(weights["classifier.weight"].flatten(1))
        classifier.bias.copy_(weights["classifier.bias"])
    return classifier
