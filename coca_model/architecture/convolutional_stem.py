"""The convolutional stem of the image encoder: EfficientNet-Lite1, an ImageNet classifier without its last layer.

A pretrained stem lets the small transformer above it learn from few pictures. The published weights determine two details: batch
norm is folded into the biases, and the padding is TensorFlow's SAME.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coca_model.architecture.depthwise_conv import DepthwiseConv2d

OUT_CHANNELS = 1280
_CHUNK = 16  # pictures at once on a CPU, whose cache their maps fit. With one thread, a step of training is twice as fast as with 160
_SIX_AS_BITS = {torch.bfloat16: 0x40C0, torch.float16: 0x4600}
# Tan and Le 2019, table 1, without squeeze-and-excitation and with ReLU6 (EfficientNet-Lite, Liu 2020); depth times 1.1.
_STAGES = (  # expansion, channels, repeats, first stride, kernel
    (1, 16, 1, 1, 3),
    (6, 24, 3, 2, 3),
    (6, 40, 3, 2, 5),
    (6, 80, 4, 2, 3),
    (6, 112, 4, 1, 5),
    (6, 192, 5, 2, 5),
    (6, 320, 1, 1, 3),
)


class ConvolutionalStem(nn.Module):
    """The convolutions of EfficientNet-Lite1: pixels (B, 3, H, W) -> map (B, 1280, H/32, W/32), 0..6.

    It consists of units: the first convolution, the blocks, the last convolution. It can run in parts, so that training can cache
    the output of frozen units and compute only the rest again.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = _convolution(3, 32, size=3, stride=2)
        blocks: list[nn.Module] = []
        channels = 32
        for expansion, out_channels, repeats, first_stride, kernel in _STAGES:
            for repeat in range(repeats):
                blocks.append(_InvertedResidual(channels, out_channels, 1 if repeat else first_stride, expansion, kernel))
                channels = out_channels
        self.blocks = nn.ModuleList(blocks)
        self.head = _convolution(channels, OUT_CHANNELS)

    def units(self) -> list[nn.Module]:
        """The modules that run one after the other."""
        return [self.stem, *self.blocks, self.head]

    def forward(self, x: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Run the units [start, stop) on x: pixels (B, 3, H, W), or the map that the unit before `start` returned."""
        if x.device.type == "cpu" and len(x) > _CHUNK:
            return torch.cat([self(part, start, stop) for part in x.split(_CHUNK)])
        for unit in self.units()[start:stop]:
            x = unit(_same_padding(x, 3) if unit is self.stem else x)
            x = _relu6(x) if unit in (self.stem, self.head) else x
        return x


class _InvertedResidual(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int, kernel: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.stride, self.kernel = stride, kernel
        self.residual = stride == 1 and in_channels == out_channels
        self.expand = _convolution(in_channels, hidden) if expansion > 1 else None
        self.depthwise = _convolution(hidden, hidden, size=kernel, stride=stride, groups=hidden)
        self.project = _convolution(hidden, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        hidden = x if self.expand is None else _relu6(self.expand(x))
        hidden = _relu6(self.depthwise(hidden if self.stride == 1 else _same_padding(hidden, self.kernel)))
        hidden = cast("Tensor", self.project(hidden))
        return x + hidden if self.residual else hidden


def _convolution(in_channels: int, out_channels: int, *, size: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    padding = size // 2 if stride == 1 else 0  # at stride 2, _same_padding adds SAME's asymmetric padding
    kind = nn.Conv2d if groups == 1 else DepthwiseConv2d
    return kind(in_channels, out_channels, size, stride, padding, groups=groups)


def _same_padding(x: Tensor, kernel: int) -> Tensor:
    """TensorFlow's SAME at stride 2: kernel - 2 pixels for an even side, kernel - 1 for an odd one, the larger half right and below."""
    (top, bottom), (left, right) = ((total // 2, total - total // 2) for total in (kernel - 2 + side % 2 for side in x.shape[2:]))
    return F.pad(x, (left, right, top, bottom))


def _relu6(x: Tensor) -> Tensor:
    if x.requires_grad or torch.is_grad_enabled():
        return F.relu6(x)
    if x.dtype in _SIX_AS_BITS and x.device.type == "cpu":
        x.view(torch.int16).clamp_(0, _SIX_AS_BITS[x.dtype])  # four times as fast: non-negative floats sort like their bits
        return x
    return F.relu6(x, inplace=True)
