"""The gradients of depthwise convolutions are those of torch."""

import pytest
import torch
from torch import nn

from coca_model.architecture.depthwise_conv import DepthwiseConv2d


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [7, 12])
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_are_those_of_torch(size: int, stride: int, side: int, bias: bool) -> None:
    ours = DepthwiseConv2d(6, 6, size, stride, size // 2, groups=6, bias=bias)
    theirs = nn.Conv2d(6, 6, size, stride, size // 2, groups=6, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(3, 6, side, side + 1)
    found = []
    for layer in (ours, theirs):
        pixels = x.clone().requires_grad_()
        out = layer(pixels)
        (out * torch.linspace(-1, 1, out.numel()).view(out.shape)).sum().backward()
        found.append([out.detach(), pixels.grad, *(parameter.grad for parameter in layer.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("stride", [1, 2])
def test_under_autocast_the_gradients_are_close(stride: int) -> None:
    ours = DepthwiseConv2d(6, 6, 5, stride, 2, groups=6)
    x, found = torch.randn(4, 6, 14, 14).to(memory_format=torch.channels_last), []
    for enabled in (True, False):
        ours.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            out = ours(x)
        assert out.dtype == (torch.bfloat16 if enabled else torch.float32)
        out.float().square().sum().backward()
        assert ours.weight.grad is not None
        assert ours.weight.grad.dtype == torch.float32
        found.append(ours.weight.grad.clone())
    assert float((found[0] - found[1]).norm() / found[1].norm()) < 0.02


def test_a_frozen_weight_lets_the_gradient_through() -> None:
    """The weight alone may be frozen, or the input may need no gradient."""
    ours, theirs = DepthwiseConv2d(4, 4, 5, 2, 2, groups=4), nn.Conv2d(4, 4, 5, 2, 2, groups=4)
    theirs.load_state_dict(ours.state_dict())
    x, found = torch.randn(2, 4, 9, 9), []
    for layer in (ours, theirs):
        layer(x).square().sum().backward()  # an input without gradient
        by_weight = layer.weight.grad
        layer.weight.requires_grad_(False)
        learning = x.clone().requires_grad_()
        layer(learning).square().sum().backward()
        found.append((by_weight, learning.grad, layer.bias.grad if layer.bias is not None else None))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
