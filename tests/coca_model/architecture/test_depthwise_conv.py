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


def test_under_autocast_the_gradients_are_close() -> None:
    ours = DepthwiseConv2d(6, 6, 5, 1, 2, groups=6)
    x, found = torch.randn(4, 6, 14, 14), []
    for enabled in (True, False):
        ours.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            out = ours(x)
        out.float().square().sum().backward()
        assert ours.weight.grad is not None
        assert ours.weight.grad.dtype == torch.float32
        found.append(ours.weight.grad.clone())
    assert float((found[0] - found[1]).norm() / found[1].norm()) < 0.02


def test_a_frozen_layer_gives_the_gradient_of_its_input() -> None:
    ours = DepthwiseConv2d(4, 4, 5, 2, 2, groups=4).requires_grad_(False)
    x = torch.randn(2, 4, 9, 9, requires_grad=True)
    ours(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
