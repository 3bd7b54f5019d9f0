import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from coca_model import load
from coca_model.packed_linear import PackedLinear, _is_supported, pack_linear_layers

on_fast_processors = pytest.mark.skipif(not _is_supported(), reason="this processor multiplies no bfloat16 through oneDNN")


@pytest.fixture
def linear():
    return nn.Linear(24, 40).bfloat16().requires_grad_(False)


@on_fast_processors
@pytest.mark.parametrize("shape", [(24,), (1, 24), (7, 24), (3, 5, 24), (2000, 24), (0, 24)])
@pytest.mark.parametrize("gelu", [False, True])
def test_a_packed_layer_equals_the_layer_up_to_rounding(linear, shape, gelu):
    x = torch.randn(shape).bfloat16()
    exact = F.linear(x.float(), linear.weight.float(), linear.bias.float())
    assert_close(PackedLinear(linear, gelu=gelu)(x).float(), F.gelu(exact) if gelu else exact, rtol=0.01, atol=0.01)


@on_fast_processors
def test_a_layer_without_bias_is_packed():
    linear, x = nn.Linear(8, 3, bias=False).bfloat16().requires_grad_(False), torch.randn(5, 8).bfloat16()
    assert_close(PackedLinear(linear, gelu=False)(x), linear(x), rtol=0.01, atol=0.01)


@on_fast_processors
def test_only_an_exact_gelu_right_after_a_layer_is_fused():
    model = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.GELU("tanh"), nn.Linear(4, 4))
    model, x = model.bfloat16().requires_grad_(False), torch.randn(9, 4).bfloat16()
    plain = copy.deepcopy(model)
    pack_linear_layers(model)
    assert [layer.activation for layer in model if isinstance(layer, PackedLinear)] == ["gelu", "none", "none", "none"]
    assert_close(model(x), plain(x), rtol=0.02, atol=0.02)


class Unpacked(nn.Module):
    def __init__(self, linear, *, gelu):
        super().__init__()
        self.gelu = gelu


def test_layers_are_replaced_at_every_depth(monkeypatch):
    monkeypatch.setattr("coca_model.packed_linear._is_supported", lambda: True)
    monkeypatch.setattr("coca_model.packed_linear.PackedLinear", Unpacked)
    model = nn.Sequential(nn.LayerNorm(4), nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 4)), nn.Linear(4, 4)).bfloat16()
    pack_linear_layers(model)
    assert [layer.gelu for layer in model.modules() if isinstance(layer, Unpacked)] == [True, False, False]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_models_of_other_dtypes_are_not_packed(dtype):
    model = nn.Sequential(nn.Linear(4, 4)).to(dtype)
    pack_linear_layers(model)
    assert type(model[0]) is nn.Linear


@on_fast_processors
def test_packed_and_plain_bfloat16_models_both_agree_with_float32(tiny_checkpoint, tiny_encoder, monkeypatch):
    packed = load(tiny_checkpoint, device="cpu", dtype=torch.bfloat16)
    assert any(isinstance(part, PackedLinear) for part in packed._model.modules())
    monkeypatch.setattr("coca_model.packed_linear._is_supported", lambda: False)
    plain = load(tiny_checkpoint, device="cpu", dtype=torch.bfloat16)
    pixels = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    texts = ["a dog in the snow", "a cat"]
    for encoder in (plain, packed):
        assert (encoder.encode_pixels(pixels) * tiny_encoder.encode_pixels(pixels)).sum(1).min() > 0.999
        assert abs(encoder.score(list(pixels), texts) - tiny_encoder.score(list(pixels), texts)).max() < 0.2
