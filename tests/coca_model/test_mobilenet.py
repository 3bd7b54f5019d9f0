import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from coca_model.mobilenet import OUT_CHANNELS, STRIDE, MobileNetV2, _InvertedResidual, _relu6, _same_padding, load_classifier


def tensorflow_same(x, weight, bias, *, stride, groups=1):
    """tf.nn.conv2d with padding="SAME", as its documentation defines it, one output pixel at a time; x (C, H, W)."""
    size, sides = weight.shape[-1], x.shape[1:]
    out_sides = [math.ceil(side / stride) for side in sides]
    total = [max((out - 1) * stride + size - side, 0) for out, side in zip(out_sides, sides, strict=True)]
    padded = torch.zeros(len(x), sides[0] + total[0], sides[1] + total[1], dtype=x.dtype)
    padded[:, total[0] // 2 : total[0] // 2 + sides[0], total[1] // 2 : total[1] // 2 + sides[1]] = x
    out = torch.zeros(len(weight), *out_sides, dtype=x.dtype)
    outs, ins = len(weight) // groups, len(x) // groups
    for o, i, j in torch.cartesian_prod(*map(torch.arange, out.shape)).tolist():
        group = o // outs
        seen = padded[group * ins : (group + 1) * ins, i * stride : i * stride + size, j * stride : j * stride + size]
        out[o, i, j] = (seen * weight[o]).sum() + bias[o]
    return out


@pytest.fixture(scope="module")
def mobilenet():
    torch.manual_seed(0)
    return MobileNetV2().eval()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 32), (96, 64), (224, 224)])
def test_map_has_a_pixel_for_each_32_of_the_picture(mobilenet, height, width):
    with torch.inference_mode():
        assert mobilenet(torch.zeros(1, 3, height, width)).shape == (1, OUT_CHANNELS, height // STRIDE, width // STRIDE)


@pytest.mark.parametrize("side", [2, 4, 8, 14, 28, 56, 112, 224])
def test_a_convolution_of_stride_2_halves_the_side_as_tensorflow_does(mobilenet, side):
    assert mobilenet.stem(_same_padding(torch.zeros(1, 3, side, side))).shape[2:] == (math.ceil(side / 2),) * 2


def test_the_stem_convolution_equals_tensorflow_same_written_out():
    stem, x = MobileNetV2().stem.double(), torch.randn(3, 8, 6).double()
    expected = tensorflow_same(x, stem.weight, stem.bias, stride=2)
    assert_close(stem(_same_padding(x[None]))[0], expected)


@pytest.mark.parametrize(("channels", "out_channels", "stride", "expansion"), [(4, 4, 1, 2), (4, 6, 1, 2), (4, 4, 2, 2), (4, 6, 2, 1)])
def test_inverted_residual_equals_its_convolutions_written_out(channels, out_channels, stride, expansion):
    block, x = _InvertedResidual(channels, out_channels, stride, expansion).double(), 3 * torch.randn(channels, 6, 8).double()
    hidden = x
    if expansion > 1:
        hidden = tensorflow_same(x, block.expand.weight, block.expand.bias, stride=1).clamp(0, 6)
    depthwise = block.depthwise
    hidden = tensorflow_same(hidden, depthwise.weight, depthwise.bias, stride=stride, groups=len(hidden)).clamp(0, 6)
    expected = tensorflow_same(hidden, block.project.weight, block.project.bias, stride=1)
    if stride == 1 and channels == out_channels:
        expected = expected + x
    assert_close(block(x[None])[0], expected)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_relu6_in_place_equals_torch(dtype, layout):
    special = torch.tensor([-math.inf, -1e30, -6.0, -1e-30, -0.0, 0.0, 1e-30, 5.96875, 6.0, 6.03125, 1e30, math.inf])
    values = torch.cat([special, torch.linspace(-10, 10, 500)]).to(dtype).reshape(2, 4, 8, 8).to(memory_format=layout)
    expected = F.relu6(values)
    with torch.inference_mode():
        x = values.clone()
        assert _relu6(x) is x
    assert torch.equal(x, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_path_with_gradients_gives_the_same_values(dtype):
    model, pixels = MobileNetV2().to(dtype), torch.randn(1, 3, 32, 32, dtype=dtype)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    with torch.inference_mode():
        expected = model(pixels)
    out = model(pixels)
    assert torch.equal(out.detach(), expected.clone())
    out.sum().backward()
    assert model.stem.weight.grad.abs().sum() > 0


def test_classifier_takes_the_weights_as_they_were_published():
    weights = {"classifier.weight": torch.randn(7, OUT_CHANNELS, 1, 1), "classifier.bias": torch.randn(7)}
    features = torch.randn(2, OUT_CHANNELS)
    expected = features @ weights["classifier.weight"][:, :, 0, 0].T + weights["classifier.bias"]
    assert_close(load_classifier(weights)(features), expected)
