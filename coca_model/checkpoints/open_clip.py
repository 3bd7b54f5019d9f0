"""Convert open_clip's CoCa checkpoints: the names of their weights, and their config if there is one.

Only the options of the published `coca_ViT-*` models are accepted. An error names any other option.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from coca_model.architecture.config import COCA_VIT_B_32, COCA_VIT_L_14, CoCaConfig, ResizeKind

if TYPE_CHECKING:
    from torch import Tensor

PUBLISHED = {"coca_ViT-B-32": COCA_VIT_B_32, "coca_ViT-L-14": COCA_VIT_L_14}

# Patterns of open_clip's names -> our names, applied in this order. `_split_attention` then converts the attention matrices.
_NAMES = (
    (r"^logit_scale$", "log_scale"),
    (r"^visual\.conv1\.", "image_tower.stem."),
    (r"^visual\.class_embedding$", "image_tower.class_token"),
    (r"^visual\.positional_embedding$", "image_tower.position"),
    (r"^visual\.ln_pre\.", "image_tower.norm."),
    (r"^visual\.transformer\.resblocks\.", "image_tower.blocks."),
    (r"^visual\.attn_pool\.query$", "poolers.caption.queries"),
    (r"^visual\.attn_pool\.ln_q\.", "poolers.caption.query_norm."),
    (r"^visual\.attn_pool\.ln_k\.", "poolers.caption.context_norm."),
    (r"^visual\.attn_pool\.attn\.", "poolers.caption.attention."),
    (r"^visual\.ln_post\.", "poolers.caption.norm."),
    (r"^visual\.proj$", "poolers.project.weight"),
    (r"^text\.token_embedding\.", "unimodal.token_embedding."),
    (r"^text\.positional_embedding$", "unimodal.position"),
    (r"^text\.cls_emb$", "unimodal.cls"),
    (r"^text\.transformer\.resblocks\.", "unimodal.blocks."),
    (r"^text\.ln_final\.", "unimodal.cls_norm."),
    (r"^text\.text_projection$", "unimodal.project.weight"),
    (r"^text_decoder\.resblocks\.(\d+)\.ln_2\.", r"multimodal.blocks.\1.inner_mlp.0."),
    (r"^text_decoder\.resblocks\.(\d+)\.mlp\.c_fc\.", r"multimodal.blocks.\1.inner_mlp.1."),
    (r"^text_decoder\.resblocks\.(\d+)\.mlp\.c_proj\.", r"multimodal.blocks.\1.inner_mlp.3."),
    (r"^text_decoder\.resblocks\.", "multimodal.blocks."),
    (r"^text_decoder\.cross_attn\.(\d+)\.ln_1\.", r"multimodal.blocks.\1.cross_norm."),
    (r"^text_decoder\.cross_attn\.(\d+)\.ln_1_kv\.", r"multimodal.blocks.\1.image_norm."),
    (r"^text_decoder\.cross_attn\.(\d+)\.attn\.", r"multimodal.blocks.\1.cross_attention."),
    (r"^text_decoder\.cross_attn\.", "multimodal.blocks."),
    (r"^text_decoder\.ln_final\.", "multimodal.norm."),
    (r"^text_decoder\.text_projection$", "multimodal.output.weight"),
    (r"\.ln_1\.", ".attention_norm."),
    (r"\.attn\.", ".attention."),
    (r"\.out_proj\.", ".output."),
    (r"\.ln_2\.", ".mlp_norm."),
    (r"\.mlp\.c_fc\.", ".mlp.0."),
    (r"\.mlp\.c_proj\.", ".mlp.2."),
)
MARKS = {"visual.attn_pool.query", "text.cls_emb"}  # every open_clip CoCa has these weights, and no other model has both
# Options that cannot be seen in the weights, with their published values. None and {} mean the same to open_clip.
_FIXED = (
    ("model_cfg", "quick_gelu", False),
    ("vision_cfg", "pool_type", "tok"),
    ("vision_cfg", "attentional_pool", True),
    ("text_cfg", "no_causal_mask", False),
    ("text_cfg", "correct_cls_mask", False),
    *((section, key, None) for section in ("vision_cfg", "text_cfg", "multimodal_cfg") for key in ("act_kwargs", "norm_kwargs")),
)
_RESIZE: dict[str, ResizeKind] = {"shortest": "crop", "squash": "squash"}
_TRANSPOSED = {"poolers.project.weight", "unimodal.project.weight", "multimodal.output.weight"}


def unwrap(loaded: Any) -> "dict[str, Tensor]":
    """The weights in the result of `torch.load`: a plain dictionary, or open_clip's training state with the prefix `module.`.

    Attention masks, which older versions of open_clip saved too, are dropped: they are computed, not learned. Raises ValueError if there
    are no named weights.
    """
    from torch import Tensor

    weights = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(weights, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in weights.items()):
        raise ValueError(f"contains {type(weights).__name__}, not named weights")
    prefix = "module." if all(name.startswith("module.") for name in weights) else ""
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if not name.endswith("attn_mask")}


def published_config(weights: Mapping[str, Any]) -> CoCaConfig:
    """The published model with the patch size and widths of these weights. Raises ValueError or KeyError if there is none."""
    patches, cls = weights["visual.conv1.weight"].shape, weights["text.cls_emb"].shape
    for config in PUBLISHED.values():
        size = config.image.patch_size
        if patches == (config.image.width, 3, size, size) and cls == (config.text.width,):
            return config
    raise ValueError(f"an open_clip CoCa of unknown size. Known: {', '.join(PUBLISHED)}.")


def convert_weights(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Rename weights, arrays of torch or NumPy, from open_clip's names to ours. Unknown names stay; the loader rejects them.

    Raises KeyError, IndexError or RuntimeError if a matrix of an attention is missing or has another shape, and ValueError if two
    names map to the same weight.
    """
    ours: dict[str, Any] = {}
    for name, weight in weights.items():
        new = name
        for pattern, replacement in _NAMES:
            new = re.sub(pattern, replacement, new)
        if new in ours:
            raise ValueError(f"{new} is given twice, once as {name}. Each weight may be given once.")
        ours[new] = weight.T if new in _TRANSPOSED and weight.ndim == 2 else weight
    for name in [name for name in ours if name.endswith("attention.in_proj_bias")]:
        _split_attention(ours, name.removesuffix("in_proj_bias"))
    return ours


def _split_attention(weights: dict[str, Any], prefix: str) -> None:
    """Split torch's MultiheadAttention, which has query, key and value in one matrix, or in three if their widths differ."""
    bias = weights.pop(f"{prefix}in_proj_bias")
    width = len(bias) // 3
    if f"{prefix}in_proj_weight" in weights:
        together = weights.pop(f"{prefix}in_proj_weight")
        query, key_value = together[:width], together[width:]
    else:
        import torch  # only the pooler of pictures has such an attention

        query, *key_and_value = (weights.pop(f"{prefix}{part}_proj_weight") for part in "qkv")
        key_value = torch.stack(key_and_value).flatten(0, 1)  # stack() raises for other shapes
    weights[f"{prefix}query.weight"], weights[f"{prefix}key_value.weight"] = query, key_value
    weights[f"{prefix}query.bias"], weights[f"{prefix}key_value.bias"] = bias[:width], bias[width:]


def follow_config(config: CoCaConfig, raw: Mapping[str, Any]) -> CoCaConfig:
    """Take mean, standard deviation and resize mode, which weights do not contain, from `open_clip_config.json`.

    Raises ValueError if the heads, sizes, resize mode or interpolation differ from those of the published models.
    """
    sections = {"preprocess_cfg": {}, **raw, **raw["model_cfg"]}
    pixels = sections["preprocess_cfg"]
    for section, key, default, wanted in (
        *((section, key, value, value) for section, key, value in _FIXED),
        ("vision_cfg", "head_width", 64, 64),
        ("vision_cfg", "attn_pooler_heads", 8, config.pooler.heads),
        ("vision_cfg", "image_size", 224, config.image.image_size),
        ("text_cfg", "heads", 8, config.text.heads),
        ("multimodal_cfg", "heads", 8, config.text.heads),
        ("preprocess_cfg", "interpolation", "bicubic", "bicubic"),
    ):
        found = sections[section].get(key, default)
        if found != wanted and not (found in (None, {}) and default == wanted):
            raise ValueError(f"{section}.{key} differs from the published models ({found!r}). Allowed: {wanted!r}.")
    resize = pixels.get("resize_mode", "shortest")
    if resize not in _RESIZE:
        raise ValueError(f"preprocess_cfg.resize_mode is unknown ({resize!r}). Allowed: {', '.join(_RESIZE)}.")
    mean, std = tuple(pixels.get("mean", config.image.mean)), tuple(pixels.get("std", config.image.std))
    return replace(config, image=replace(config.image, mean=mean, std=std, resize=_RESIZE[resize]))
