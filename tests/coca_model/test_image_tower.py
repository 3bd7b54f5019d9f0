import dataclasses

import pytest
import torch
from torch.testing import assert_close

from coca_model.config import ImageConfig
from coca_model.image_tower import ImageTower

CONFIG = ImageConfig(16, 8, width=12, layers=1, heads=2, mlp_width=16, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
OPEN_CLIP = dataclasses.replace(CONFIG, layout="open_clip")


@pytest.mark.parametrize("config", [CONFIG, OPEN_CLIP], ids=["paper", "open_clip"])
def test_patch_stem_equals_a_linear_map_of_each_normalised_patch(config):
    tower = ImageTower(config).double()
    pixels = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8)
    expected = torch.zeros(2, 4, 12, dtype=torch.float64)
    for b, row, column in torch.cartesian_prod(torch.arange(2), torch.arange(2), torch.arange(2)).tolist():
        patch = pixels[b, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].double() / 255
        patch = (patch - torch.tensor([0.4, 0.5, 0.6])) / torch.tensor([0.2, 0.3, 0.4])
        expected[b, 2 * row + column] = torch.einsum("ochw,hwc->o", tower.stem.weight, patch)
    expected += 0 if tower.stem.bias is None else tower.stem.bias
    assert (tower.stem.bias is None) is (config is OPEN_CLIP)
    assert_close(tower.stem_map(pixels), expected, rtol=1e-6, atol=1e-6)


def test_tokens_equal_blocks_over_features_and_positions():
    tower, features = ImageTower(CONFIG), torch.randn(2, 4, 12)
    assert_close(tower.encode_map(features), tower.norm(tower.blocks[0](features + tower.position)))


def test_open_clip_puts_a_class_token_first_and_its_norm_before_the_blocks():
    tower, features = ImageTower(OPEN_CLIP), torch.randn(2, 4, 12)
    torch.nn.init.normal_(tower.norm.weight)
    torch.nn.init.normal_(tower.norm.bias)
    x = torch.stack([torch.cat([tower.class_token[None], picture]) for picture in features])
    assert tower.position.shape == (5, 12)
    assert_close(tower.encode_map(features), tower.blocks[0](tower.norm(x + tower.position)))


@pytest.mark.parametrize("keep", [[0], [2, 1], [0, 1, 2, 3]])
def test_kept_patches_keep_their_own_positions(keep):
    tower, features = ImageTower(CONFIG), torch.randn(2, 4, 12)
    expected = tower.norm(tower.blocks[0]((features + tower.position)[:, keep]))
    assert torch.equal(tower.encode_map(features, torch.tensor(keep)), expected)


def test_mobilenet_stem_gives_a_token_for_each_32_pixels():
    tower = ImageTower(ImageConfig(64, 32, "mobilenet_v2", width=12, layers=1, heads=2, mlp_width=16))
    assert tower(torch.zeros(2, 64, 64, 3, dtype=torch.uint8)).shape == (2, 4, 12)
