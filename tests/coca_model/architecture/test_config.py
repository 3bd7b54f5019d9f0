import json
import re

import pytest

from coca_model.architecture.config import (
    COCA_2B,
    COCA_VIT_B_32,
    CoCaConfig,
    ImageConfig,
    PoolerConfig,
    TextConfig,
    embedded_config,
    read_config,
)
from coca_model.errors import CheckpointError

ODD = CoCaConfig(
    ImageConfig(64, 16, "patch", 12, 1, 3, 20, "crop", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
    PoolerConfig("parallel", 5, 2),
    TextConfig(8, 1, 2, 4, 16, 9, 77, tied_output=True),
    embedding_width=6,
)


@pytest.mark.parametrize("config", [CoCaConfig(), ODD, embedded_config(12288), COCA_2B, COCA_VIT_B_32])
def test_a_config_survives_its_json(config, tmp_path):
    (tmp_path / "config.json").write_text(config.to_json())
    assert read_config(tmp_path / "config.json") == config


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ImageConfig(stem="resnet"), "image.stem is unknown ('resnet'). Allowed: patch, efficientnet_lite1."),
        (lambda: ImageConfig(resize="stretch"), "image.resize is unknown ('stretch'). Allowed: squash, crop."),
        (lambda: ImageConfig(heads=7), "image.heads does not divide image.width (7, 768). Choose a divisor of 768."),
        (lambda: ImageConfig(heads=0), "image.heads does not divide image.width (0, 768)."),
        (lambda: ImageConfig(image_size=100, patch_size=16), "image.patch_size does not divide image.image_size (16, 100)."),
        (
            lambda: ImageConfig(224, 16, "efficientnet_lite1"),
            "image.patch_size is not the stride of the stem (16). efficientnet_lite1 has 32.",
        ),
        (
            lambda: ImageConfig(240, 24, "efficientnet_lite1"),
            "image.patch_size is not the stride of the stem (24). efficientnet_lite1 has 32.",
        ),
        (lambda: PoolerConfig(kind="mean"), "pooler.kind is unknown ('mean'). Allowed: cascade, parallel, open_clip."),
        (lambda: PoolerConfig(kind="Cascade"), "pooler.kind is unknown ('Cascade')."),
        (lambda: ImageConfig(layout="clip"), "image.layout is unknown ('clip'). Allowed: paper, open_clip."),
        (lambda: TextConfig(layout=""), "text.layout is unknown (''). Allowed: paper, open_clip."),
        (lambda: TextConfig(heads=5), "text.heads does not divide text.width (5, 768)."),
        (lambda: CoCaConfig(pooler=PoolerConfig(heads=9)), "pooler.heads does not divide text.width (9, 768)."),
    ],
)
def test_an_invalid_value_is_refused_with_the_allowed_values(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        make()


def changed(*path, value):
    raw = json.loads(ODD.to_json())
    target = raw
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return json.dumps(raw)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "Expecting value"),
        ("[1, 2]", "list indices"),
        ("{}", "'image'"),
        (changed("image", "stem", value="resnet"), "resnet"),
        (changed("image", "colour", value="red"), "'colour'"),
        (changed("image", "mean", value=0.5), "float"),
        (changed("pooler", "kind", value="mean"), "'mean'"),
        (changed("text", "heads", value=3), r"\(3, 8\)"),
        (changed("text", "layout", value="hf"), "text.layout is unknown"),
        (changed("image", "layout", value=None), "image.layout is unknown"),
        (b"\xff\xfe\x00", "utf-8"),
    ],
)
def test_an_invalid_config_file_is_named_with_the_reason(tmp_path, content, reason):
    path = tmp_path / "config.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CheckpointError, match=rf"^{re.escape(str(path))}: not a CoCa config \(.*{reason}.*\)\. Expected the JSON"):
        read_config(path)


def test_a_config_without_layouts_has_the_layout_of_the_paper(tmp_path):
    raw = json.loads(CoCaConfig().to_json())
    for part, name in (("image", "layout"), ("text", "layout"), ("text", "text_only")):
        del raw[part][name]
    (tmp_path / "config.json").write_text(json.dumps(raw))
    assert read_config(tmp_path / "config.json") == CoCaConfig()
    assert (CoCaConfig().image.layout, CoCaConfig().text.layout, CoCaConfig().text.text_only) == ("paper", "paper", True)


def test_a_missing_config_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=re.escape(str(tmp_path / "nothing.json"))):
        read_config(tmp_path / "nothing.json")


def test_the_number_of_patches_follows_from_the_sizes():
    assert ODD.image.num_patches == 16
    assert CoCaConfig().image.num_patches == 256
    assert embedded_config(3).image.num_patches == 49
