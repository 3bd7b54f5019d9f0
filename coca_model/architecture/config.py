"""The shape of a CoCa as frozen dataclasses, their JSON form, and the named models: the paper's, open_clip's, and the embedded default.

Each dataclass checks its values, so an error names the bad value of a `config.json`. Parameter counts of the paper's table 1, then ours,
which include the poolers and projections:

    CoCa-Base     86M image + 297M text = 383M    389M
    CoCa-Large   303M image + 484M text = 787M    798M
    CoCa          1B image + 1.1B text = 2.1B    2.17B

The text counts of Base and Large include two matrices of 64k words, input and output. That of the largest model includes only one
(two would make 1.23B), so we tie its output matrix to its input matrix.
"""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from coca_model.errors import CheckpointError

StemKind = Literal["patch", "efficientnet_lite1"]
PoolerKind = Literal["cascade", "parallel", "open_clip"]
ResizeKind = Literal["squash", "crop"]
Layout = Literal["paper", "open_clip"]


def _one_of(name: str, value: str, kind: Any) -> None:
    if value not in get_args(kind):
        raise ValueError(f"{name} is unknown ({value!r}). Allowed: {', '.join(get_args(kind))}.")


def _divides(name: str, part: int, whole_name: str, whole: int) -> None:
    if part < 1 or whole % part:
        raise ValueError(f"{name} does not divide {whole_name} ({part}, {whole}). Choose a divisor of {whole}.")


@dataclass(frozen=True)
class ImageConfig:
    """The image encoder and the pixels it expects (paper section 3.1, table 1)."""

    image_size: int = 288
    patch_size: int = 18  # pixels between two tokens: the side of a ViT patch, or the total stride of the stem
    stem: StemKind = "patch"
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    resize: ResizeKind = "crop"  # to a square: `squash` keeps the whole picture, `crop` keeps its proportions and cuts out the centre
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    layout: Layout = "paper"  # "open_clip" for open_clip's weights; `image_tower.ImageTower` lists the differences

    def __post_init__(self) -> None:
        _one_of("image.stem", self.stem, StemKind)
        _one_of("image.layout", self.layout, Layout)
        _one_of("image.resize", self.resize, ResizeKind)
        if len(self.mean) != 3 or not all(map(math.isfinite, self.mean)):
            raise ValueError(f"image.mean does not fit a picture ({self.mean}). Allowed: three finite numbers, for red, green and blue.")
        if len(self.std) != 3 or not all(0 < value < math.inf for value in self.std):
            raise ValueError(f"image.std does not fit a picture ({self.std}). Allowed: three numbers above 0, for red, green and blue.")
        _divides("image.heads", self.heads, "image.width", self.width)
        _divides("image.patch_size", self.patch_size, "image.image_size", self.image_size)
        if self.stem != "patch" and self.patch_size != 32:
            raise ValueError(f"image.patch_size is not the stride of the stem ({self.patch_size}). {self.stem} has 32.")

    @property
    def preprocessing_id(self) -> str:
        """How a picture becomes pixels. Vectors with different ids cannot be compared."""
        return f"{self.resize}-{self.image_size}-bicubic-srgb"

    @property
    def num_patches(self) -> int:
        """P, the number of patch tokens of a picture."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class PoolerConfig:
    """The attentional poolers (paper section 3.2, "Attentional Poolers").

    `cascade`: the contrastive query attends to the outputs of the caption queries. `parallel`: both attend to the image tokens.
    `open_clip`: there is one pooler. Its first query is the contrastive one.
    """

    kind: PoolerKind = "cascade"
    caption_queries: int = 256
    heads: int = 12

    def __post_init__(self) -> None:
        _one_of("pooler.kind", self.kind, PoolerKind)


@dataclass(frozen=True)
class TextConfig:
    """The unimodal and the multimodal text decoder, which share width and heads (paper section 3.2).

    With `text_only` the decoder was also trained on sentences without a picture, so it can compute log p(text) alone. Otherwise a grey
    picture stands for "no picture" (`encoder.Encoder.score`).
    """

    width: int = 768
    unimodal_layers: int = 12
    multimodal_layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    context_length: int = 64
    vocabulary_size: int = 64000
    tied_output: bool = False
    layout: Layout = "paper"  # "open_clip": CLS has another position and mask, and `transformer.Block` has one more MLP and norm
    text_only: bool = True

    def __post_init__(self) -> None:
        _one_of("text.layout", self.layout, Layout)
        if self.unimodal_layers < 1 or self.multimodal_layers < 1:
            raise ValueError(f"text layers are too few ({self.unimodal_layers} and {self.multimodal_layers}). Each decoder has at least 1.")
        _divides("text.heads", self.heads, "text.width", self.width)


@dataclass(frozen=True)
class CoCaConfig:
    """A whole CoCa; `embedding_width` is E, the width of the space that both towers share."""

    image: ImageConfig = ImageConfig()
    pooler: PoolerConfig = PoolerConfig()
    text: TextConfig = TextConfig()
    embedding_width: int = 768

    def __post_init__(self) -> None:
        _divides("pooler.heads", self.pooler.heads, "text.width", self.text.width)

    def to_json(self) -> str:
        """The JSON that `read_config` reads."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def read_config(path: Path) -> CoCaConfig:
    """Read a config from `path`. Raises CheckpointError if the file is not a config."""
    try:
        raw: dict[str, Any] = json.loads(path.read_text())
        image = dict(raw["image"], mean=tuple(raw["image"]["mean"]), std=tuple(raw["image"]["std"]))
        return CoCaConfig(ImageConfig(**image), PoolerConfig(**raw["pooler"]), TextConfig(**raw["text"]), raw["embedding_width"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: not a CoCa config ({error!r}). Expected the JSON that CoCaConfig.to_json writes.") from error


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
