import dataclasses

import pytest
import torch
from torch.testing import assert_close

from coca_model.architecture.config import ImageConfig
from coca_model.architecture.image_tower import ImageTower

CONFIG = ImageConfig(16, 8, width=12, layers=2, heads=2, mlp_width=16, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
OPEN_CLIP = dataclasses.replace(CONFIG, layout="open_clip")
LITE = dataclasses.replace(CONFIG, image_size=64, patch_size=32, stem="efficientnet_lite1")
UNITS = {"patch": 1 + 2, "open_clip": 1 + 2, "efficientnet_lite1": 1 + 21 + 1 + 2}
CONFIGS = dict(zip(UNITS, (CONFIG, OPEN_CLIP, LITE), strict=True))


def pixels_of(config, count=2):
    return torch.randint(0, 256, (count, config.image_size, config.image_size, 3), dtype=torch.uint8)


def make_tower(config):
    """A tower in which every part changes its input."""
    tower = ImageTower(config).requires_grad_(False).eval()
    for name, parameter in tower.named_parameters():
        if parameter.ndim == 4:
            torch.nn.init.kaiming_normal_(parameter)
        elif "norm" in name:
            torch.nn.init.normal_(parameter, 1.0, 0.3)
    return tower


@pytest.mark.parametrize("config", [CONFIG, OPEN_CLIP], ids=["paper", "open_clip"])
def test_patch_stem_equals_a_linear_map_of_each_normalised_patch(config):
    tower, pixels = ImageTower(config).double(), pixels_of(config)
    expected = torch.zeros(2, 4, 12, dtype=torch.float64)
    for b, row, column in torch.cartesian_prod(torch.arange(2), torch.arange(2), torch.arange(2)).tolist():
        patch = pixels[b, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].double() / 255
        patch = (patch - torch.tensor([0.4, 0.5, 0.6])) / torch.tensor([0.2, 0.3, 0.4])
        expected[b, 2 * row + column] = torch.einsum("ochw,hwc->o", tower.stem.weight, patch)
    expected += 0 if tower.stem.bias is None else tower.stem.bias
    assert (tower.stem.bias is None) is (config is OPEN_CLIP)
    assert_close(tower.begin(pixels, 1), expected, rtol=1e-6, atol=1e-6)


def test_tokens_equal_blocks_over_features_and_positions():
    tower, features = make_tower(CONFIG), torch.randn(2, 4, 12)
    assert_close(tower.finish(features, 1), tower.norm(tower.blocks[1](tower.blocks[0](features + tower.position))))


def test_open_clip_puts_a_class_token_first_and_its_norm_before_the_blocks():
    tower, features = make_tower(OPEN_CLIP), torch.randn(2, 4, 12)
    x = torch.stack([torch.cat([tower.class_token[None], picture]) for picture in features])
    assert tower.position.shape == (5, 12)
    assert_close(tower.finish(features, 1), tower.blocks[1](tower.blocks[0](tower.norm(x + tower.position))))


@pytest.mark.parametrize("name", CONFIGS)
def test_begin_and_finish_equal_the_whole_tower_at_every_cut(name):
    tower, pixels = make_tower(CONFIGS[name]), pixels_of(CONFIGS[name])
    whole = tower(pixels)
    assert len(tower.units()) == UNITS[name]
    assert (whole[0] - whole[1]).abs().mean() > 0.01  # the picture changes the output
    for cut in range(UNITS[name] + 1):
        assert_close(tower.finish(tower.begin(pixels, cut), cut), whole, rtol=1e-5, atol=1e-5, msg=f"cut after unit {cut}")


@pytest.mark.parametrize("name", CONFIGS)
def test_features_cached_in_bfloat16_are_finished_in_the_precision_of_the_weights(name):
    tower, pixels = make_tower(CONFIGS[name]), pixels_of(CONFIGS[name])
    for cut in range(UNITS[name] + 1):
        features = tower.begin(pixels, cut).bfloat16()
        out = tower.finish(features, cut)
        assert out.dtype == torch.float32
        assert torch.equal(out, tower.finish(features.float(), cut)), cut


@pytest.mark.parametrize("cut", [0, 23])
def test_under_autocast_features_cached_in_bfloat16_stay_bfloat16(cut):
    tower, seen = make_tower(LITE), []
    (tower.stem.stem if cut == 0 else tower.project).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    features = tower.begin(pixels_of(LITE), cut).bfloat16()
    seen.clear()
    with torch.autocast("cpu", torch.bfloat16):
        tower.finish(features, cut)
    assert seen == [torch.bfloat16]


@pytest.mark.parametrize("name", CONFIGS)
def test_begin_runs_exactly_the_units_before_the_cut(name):
    """`begin(pixels, cut)` runs `units()[:cut]` in order."""
    tower, ran = make_tower(CONFIGS[name]), []
    for number, unit in enumerate(tower.units()):
        unit.register_forward_hook(lambda *_, number=number: ran.append(number))
    for cut in range(UNITS[name] + 1):
        ran.clear()
        tower.begin(pixels_of(CONFIGS[name], 1), cut)
        assert ran == list(range(cut))


@pytest.mark.parametrize(
    ("name", "cut", "shape"),
    [
        ("patch", 0, (16, 16, 3)),
        ("patch", 1, (4, 12)),
        ("open_clip", 1, (4, 12)),
        ("open_clip", 2, (5, 12)),
        ("efficientnet_lite1", 1, (32, 32, 32)),
        ("efficientnet_lite1", 21, (2, 2, 192)),
        ("efficientnet_lite1", 22, (2, 2, 320)),
        ("efficientnet_lite1", 23, (4, 1280)),
        ("efficientnet_lite1", 24, (4, 12)),
    ],
)
def test_begin_gives_a_channels_last_map_inside_the_stem_and_tokens_after_it(name, cut, shape):
    assert make_tower(CONFIGS[name]).begin(pixels_of(CONFIGS[name]), cut).shape == (2, *shape)


@pytest.mark.parametrize("keep", [[0], [2, 1], [0, 1, 2, 3]])
def test_selected_patches_keep_their_positions(keep):
    tower, features = make_tower(CONFIG), torch.randn(2, 4, 12)
    expected = tower.norm(tower.blocks[1](tower.blocks[0]((features + tower.position)[:, keep])))
    assert torch.equal(tower.finish(features, 1, torch.tensor(keep)), expected)


@pytest.mark.parametrize("cut", [0, 20, 23])
def test_patches_are_dropped_after_the_stem_at_every_cut_within_it(cut):
    tower, pixels, keep = make_tower(LITE), pixels_of(LITE), torch.tensor([0, 3])
    expected = tower.finish(tower.begin(pixels, 23), 23, keep)
    assert expected.shape == (2, 2, 12)
    assert_close(tower.finish(tower.begin(pixels, cut), cut, keep), expected, rtol=1e-5, atol=1e-5)


def test_a_convolutional_stem_gives_a_token_for_each_32_pixels():
    tower = make_tower(LITE)
    assert tower(torch.zeros(2, 64, 64, 3, dtype=torch.uint8)).shape == (2, 4, 12)
