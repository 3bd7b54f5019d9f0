import pytest
import torch

from coca_model.architecture import config as configs
from coca_model.architecture.coca import CoCa


def parameters(*modules):
    """The number of parameters. Parameters shared by two modules count once."""
    return sum(tensor.numel() for tensor in {p for module in modules for p in module.parameters()})


@pytest.fixture(scope="module")
def models():
    """The models of `configs` by name, on the meta device."""
    names = ("COCA_BASE", "COCA_LARGE", "COCA_2B", "COCA_VIT_B_32", "COCA_VIT_L_14")
    with torch.device("meta"):
        return {name: CoCa(getattr(configs, name)) for name in names}


@pytest.mark.parametrize(
    ("name", "image", "text", "total"),
    [("COCA_BASE", 86e6, 297e6, 383e6), ("COCA_LARGE", 303e6, 484e6, 787e6)],
)
def test_base_and_large_have_the_parameter_counts_of_the_papers_table(models, name, image, text, total):
    model = models[name]
    assert parameters(model.image_tower) == pytest.approx(image, rel=0.02)
    assert parameters(model.unimodal, model.multimodal) == pytest.approx(text, rel=0.02)
    assert parameters(model) == pytest.approx(total, rel=0.02)


def test_the_largest_model_has_the_rounded_parameter_counts_of_the_papers_table(models):
    """The paper gives 1B, 1.1B and 2.1B. Its total leaves out the poolers; ours is 2.17B with them."""
    model = models["COCA_2B"]
    billions = [round(parameters(*parts) / 1e9, 1) for parts in ([model.image_tower], [model.unimodal, model.multimodal])]
    assert billions == [1.0, 1.1]
    assert parameters(model) == pytest.approx(2.1e9, rel=0.04)


def test_the_text_count_of_the_largest_model_requires_a_tied_output(models):
    text = models["COCA_2B"].config.text
    untied = parameters(models["COCA_2B"].unimodal, models["COCA_2B"].multimodal) + text.vocabulary_size * text.width
    assert text.tied_output
    assert round(untied / 1e9, 2) == 1.23


@pytest.mark.parametrize(("name", "count"), [("COCA_BASE", 388_940_545), ("COCA_LARGE", 798_192_641), ("COCA_2B", 2_174_054_273)])
def test_the_documented_totals_are_correct(models, name, count):
    assert parameters(models[name]) == count
    digits = f"{count / 1e9:.2f}B" if count > 1e9 else f"{count / 1e6:.0f}M"
    assert digits in configs.__doc__


def test_coca_vit_b_32_has_exactly_the_parameter_count_of_open_clip(models):
    assert parameters(models["COCA_VIT_B_32"]) == 253_560_065


@pytest.mark.parametrize(
    ("name", "image_layers", "text_layers", "width", "mlp_width", "heads"),
    [("COCA_BASE", 12, 12, 768, 3072, 12), ("COCA_LARGE", 24, 12, 1024, 4096, 16), ("COCA_2B", 40, 18, 1408, 6144, 16)],
)
def test_the_papers_models_have_the_shape_of_its_table(name, image_layers, text_layers, width, mlp_width, heads):
    config = getattr(configs, name)
    image, text = config.image, config.text
    assert (image.layers, text.unimodal_layers, text.multimodal_layers) == (image_layers, text_layers, text_layers)
    assert (image.width, image.mlp_width, image.heads) == (text.width, text.mlp_width, text.heads) == (width, mlp_width, heads)
    assert (image.image_size, image.patch_size, image.num_patches) == (288, 18, 256)
    assert (config.pooler.kind, config.pooler.caption_queries, config.embedding_width) == ("cascade", 256, width)
    assert (text.context_length, text.vocabulary_size, image.layout, text.layout) == (64, 64000, "paper", "paper")


@pytest.mark.parametrize(
    ("name", "patch_size", "image_layers", "image_width", "text_width"),
    [("COCA_VIT_B_32", 32, 12, 768, 512), ("COCA_VIT_L_14", 14, 24, 1024, 768)],
)
def test_open_clips_models_have_the_shape_of_its_configs(name, patch_size, image_layers, image_width, text_width):
    config = getattr(configs, name)
    image, text = config.image, config.text
    assert (image.image_size, image.patch_size, image.layers) == (224, patch_size, image_layers)
    assert (image.width, image.heads, image.mlp_width) == (image_width, image_width // 64, 4 * image_width)
    assert (text.width, text.heads, text.mlp_width, config.embedding_width) == (text_width, text_width // 64, 4 * text_width, text_width)
    assert (text.unimodal_layers, text.multimodal_layers, text.context_length, text.vocabulary_size) == (12, 12, 76, 49408)
    assert (config.pooler.kind, config.pooler.caption_queries, config.pooler.heads) == ("open_clip", 256, 8)
    assert (image.layout, text.layout, text.text_only, text.tied_output) == ("open_clip", "open_clip", False, False)


def test_the_embedded_config_takes_its_vocabulary_size_as_an_argument():
    config = configs.embedded_config(1234)
    assert (config.text.vocabulary_size, config.image.stem, config.image.num_patches) == (1234, "efficientnet_lite1", 49)


def test_the_embedded_config_normalises_pixels_as_its_stem_was_trained():
    """The published classifier maps a byte to (value - 127) / 128. Our configs apply to the byte divided by 255."""
    image = configs.embedded_config(3).image
    for byte in (0, 127, 255):
        assert (byte / 255 - image.mean[0]) / image.std[0] == pytest.approx((byte - 127) / 128, abs=1e-12)
    assert len({*image.mean}) == len({*image.std}) == 1
