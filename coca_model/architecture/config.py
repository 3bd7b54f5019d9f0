"""The shape of a CoCa as frozen dataclasses, and their JSON form.

One config describes every model: the paper's, open_clip's, and the embedded one. Each dataclass checks its values, so an error names the
bad value of a `config.json`.
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
