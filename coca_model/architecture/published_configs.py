"""The configs of named models: the paper's, open_clip's, and the embedded default.

Parameter counts of table 1, then ours. Ours include the poolers and projections:

    CoCa-Base     86M image + 297M text = 383M    389M
    CoCa-Large   303M image + 484M text = 787M    798M
    CoCa          1B image + 1.1B text = 2.1B    2.17B

The text counts of Base and Large include two matrices of 64k words, input and output. That of the largest model includes only one
(two would make 1.23B), so we tie its output matrix to its input matrix.
"""

from coca_model.architecture.config import CoCaConfig, ImageConfig, PoolerConfig, TextConfig


def _paper(width: int, mlp_width: int, heads: int, image_layers: int, text_layers: int, *, tied_output: bool = False) -> CoCaConfig:
    """Table 1 of the paper; 288 x 288 pixels in 18 x 18 patches, 64 tokens of 64k, 256 caption queries (sections 3.2, 4.1)."""
    return CoCaConfig(
        image=ImageConfig(288, 18, "patch", width, image_layers, heads, mlp_width),
        pooler=PoolerConfig("cascade", 256, heads),
        text=TextConfig(width, text_layers, text_layers, heads, mlp_width, 64, 64000, tied_output),
        embedding_width=width,
    )


def _open_clip(patch_size: int, image_width: int, image_layers: int, text_width: int) -> CoCaConfig:
    """open_clip 3.3.0, model_configs/coca_ViT-*.json: heads of width 64, except 8 heads in the pooler; 76 tokens and CLS."""
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    sizes = image_width, image_layers, image_width // 64, 4 * image_width
    image = ImageConfig(224, patch_size, "patch", *sizes, mean=mean, std=std, layout="open_clip")
    text = TextConfig(text_width, 12, 12, text_width // 64, 4 * text_width, 76, 49408, layout="open_clip", text_only=False)
    return CoCaConfig(image, PoolerConfig("open_clip", 256, 8), text, embedding_width=text_width)


COCA_BASE = _paper(768, 3072, 12, image_layers=12, text_layers=12)
COCA_LARGE = _paper(1024, 4096, 16, image_layers=24, text_layers=12)
COCA_2B = _paper(1408, 6144, 16, image_layers=40, text_layers=18, tied_output=True)
COCA_VIT_B_32 = _open_clip(32, image_width=768, image_layers=12, text_width=512)
COCA_VIT_L_14 = _open_clip(14, image_width=1024, image_layers=24, text_width=768)


def embedded_config(vocabulary_size: int) -> CoCaConfig:
    """The default in `data/`: an EfficientNet-Lite1 stem with its pixel range, and small towers of width 384."""
    image = ImageConfig(224, 32, "efficientnet_lite1", 384, 3, 6, 1536, "squash", mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
    text = TextConfig(384, 4, 3, heads=6, mlp_width=1536, context_length=48, vocabulary_size=vocabulary_size, tied_output=True)
    return CoCaConfig(image, PoolerConfig(caption_queries=32, heads=6), text, embedding_width=384)
