"""The shape of a CoCa as frozen dataclasses, and their JSON form.

One config describes every model the project runs: the paper's ViT with a patch stem, and the embedded default with its
convolutional stem. Values are checked where they are used first, here, so that a bad `config.json` fails with its value.
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


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is unknown ({value!r}). Allowed: {', '.join(allowed)}.")


def _divides(name: str, part: int, whole_name: str, whole: int) -> None:
    if part < 1 or whole % part:
        raise ValueError(f"{name} does not divide {whole_name} ({part}, {whole}). Choose a divisor of {whole}.")


@dataclass(frozen=True)
class ImageConfig:
    """The image encoder and the pixels it expects (paper section 3.1, table 1).

    `patch_size` is the distance in pixels between two tokens: the side of a ViT patch, or the stem's total stride.
    `resize` says how a picture becomes square: `squash` keeps all of it, `crop` keeps its proportions and the centre.
    `layout` is open_clip's where the weights are; `image_tower.ImageTower` tells the differences.
    """

    image_size: int = 288
    patch_size: int = 18
    stem: StemKind = "patch"
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    resize: ResizeKind = "crop"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    layout: Layout = "paper"

    def __post_init__(self) -> None:
        _one_of("image.stem", self.stem, get_args(StemKind))
        _one_of("image.layout", self.layout, ("paper", "open_clip"))
        if len(self.mean) != 3 or not all(map(math.isfinite, self.mean)):
            raise ValueError(f"image.mean is none of a picture ({self.mean}). Allowed: three numbers, of red, green and blue.")
        if len(self.std) != 3 or not all(0 < value < math.inf for value in self.std):
            raise ValueError(f"image.std is none of a picture ({self.std}). Allowed: three numbers above 0, of red, green and blue.")
        _one_of("image.resize", self.resize, ("squash", "crop"))
        _divides("image.heads", self.heads, "image.width", self.width)
        _divides("image.patch_size", self.patch_size, "image.image_size", self.image_size)
        if self.stem != "patch" and self.patch_size != 32:
            raise ValueError(f"image.patch_size is not the stem's stride ({self.patch_size}). {self.stem} has 32.")

    @property
    def num_patches(self) -> int:
        """P, the tokens that the stem makes of a picture."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class PoolerConfig:
    """The attentional poolers (paper section 3.2, "Attentional Poolers").

    `cascade` puts the single contrastive query on top of the caption queries; `parallel` puts both on the image tokens;
    `open_clip` has one pooler, whose first query is the contrastive one.
    """

    kind: PoolerKind = "cascade"
    caption_queries: int = 256
    heads: int = 12

    def __post_init__(self) -> None:
        _one_of("pooler.kind", self.kind, ("cascade", "parallel", "open_clip"))


@dataclass(frozen=True)
class TextConfig:
    """The unimodal and the multimodal text decoder, which share width and heads (paper section 3.2).

    `layout` is open_clip's where the weights are: another place and mask of CLS (`text_tower.UnimodalDecoder`), an MLP and a
    norm more in each multimodal block (`transformer.Block`). `text_only` says that the decoder was trained on sentences
    without a picture too, so that log p(text) is its own; else a grey picture stands for none (`encoder.Encoder.score`).
    """

    width: int = 768
    unimodal_layers: int = 12
    multimodal_layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    context_length: int = 64
    vocabulary_size: int = 64000
    tied_output: bool = False
    layout: Layout = "paper"
    text_only: bool = True

    def __post_init__(self) -> None:
        _one_of("text.layout", self.layout, ("paper", "open_clip"))
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
    """Read a config from `path`. Raises CheckpointError where the file is not one."""
    try:
        raw: dict[str, Any] = json.loads(path.read_text())
        image = dict(raw["image"], mean=tuple(raw["image"]["mean"]), std=tuple(raw["image"]["std"]))
        return CoCaConfig(ImageConfig(**image), PoolerConfig(**raw["pooler"]), TextConfig(**raw["text"]), raw["embedding_width"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: not a CoCa config ({error!r}). Expected the JSON that CoCaConfig.to_json writes.") from error
