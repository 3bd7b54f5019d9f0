"""Depthwise convolutions whose backward pass is fast on a CPU.

oneDNN has fast kernels for the gradient of 3x3 depthwise weights, but not of 5x5 ones, nor for the input's gradient at stride 2. Here
both are made of convolutions that it has: the taps of a 5x5 kernel are those of four 3x3 kernels, which meet in its middle, and
the gradient with respect to the input is a convolution of the output's gradient, spread over the strides, with the flipped kernel.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DepthwiseConv2d(nn.Conv2d):
    """`nn.Conv2d` with as many groups as channels. Only the backward pass of 5x5 kernels on a CPU differs, in speed."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name in torch
        """(B, C, H, W) to (B, C, H', W'), as `nn.Conv2d`."""
        learns = torch.is_grad_enabled() and self.weight.requires_grad
        if not learns or self.kernel_size != (5, 5) or input.device.type != "cpu":
            return super().forward(input)
        x, weight, bias = input, self.weight, self.bias
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
        return cast("Tensor", _Convolution5x5.apply(x, weight, bias, self.stride[0], self.padding[0]))  # type: ignore[no-untyped-call]


class _Convolution5x5(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, bias, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        of_input = _input_gradient(gradient, weight, ctx.stride, ctx.padding, x.shape) if ctx.needs_input_grad[0] else None
        of_bias = gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
        padded = F.pad(x, (ctx.padding,) * 4)
        return of_input, _weight_gradient(gradient, padded, weight, ctx.stride), of_bias, None, None


def _input_gradient(gradient: Tensor, weight: Tensor, stride: int, padding: int, shape: torch.Size) -> Tensor:
    if stride > 1:
        batch, channels, height, width = gradient.shape
        spread = gradient.new_zeros(batch, channels, stride * (height - 1) + 1, stride * (width - 1) + 1)
        spread = spread.contiguous(memory_format=torch.channels_last)
        spread[:, :, ::stride, ::stride] = gradient
        gradient = spread
    found = F.conv2d(gradient, weight.flip(2, 3), padding=4, groups=len(weight))  # of the padded input
    found = found[:, :, padding : padding + shape[2], padding : padding + shape[3]]
    below, right = shape[2] - found.shape[2], shape[3] - found.shape[3]  # pixels that no position of the kernel reached
    return F.pad(found, (0, right, 0, below)) if below or right else found


def _weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    out, like = torch.empty_like(weight), weight[:, :, :3, :3].contiguous()
    height, width = (stride * (side - 1) + 3 for side in gradient.shape[2:])
    for top in (0, 2):
        for left in (0, 2):
            part = x[:, :, top : top + height, left : left + width].contiguous(memory_format=torch.channels_last)
            strides, no, one = (stride, stride), (0, 0), (1, 1)
            taps = torch.ops.aten.convolution_backward(
                gradient, part, like, None, strides, no, one, False, no, len(weight), (False, True, False)
            )[1]
            out[:, :, top : top + 3, left : left + 3] = taps
    return out
