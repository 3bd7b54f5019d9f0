"""The shape of a CoCa as frozen dataclasses, and their JSON form.

One config describes every model the project runs: the paper's ViT with a patch stem, and the embedded default with its
convolutional stem. Values are checked where they are used first, here, so that a bad `config.json` fails with its value.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from coca_model.errors import CheckpointError

StemKind = Literal["patch", "mobilenet_v2"]
PoolerKind = Literal["cascade", "parallel"]
ResizeKind = Literal["squash", "crop"]


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

    def __post_init__(self) -> None:
        _one_of("image.stem", self.stem, ("patch", "mobilenet_v2"))
        _one_of("image.resize", self.resize, ("squash", "crop"))
        _divides("image.heads", self.heads, "image.width", self.width)
        _divides("image.patch_size", self.patch_size, "image.image_size", self.image_size)
        if self.stem == "mobilenet_v2" and self.patch_size != 32:
            raise ValueError(f"image.patch_size is not the stem's stride ({self.patch_size}). mobilenet_v2 has 32.")

    @property
    def num_patches(self) -> int:
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class PoolerConfig:
    """The attentional poolers (paper section 3.2, "Attentional Poolers").

    `cascade` puts the single contrastive query on top of the caption queries; `parallel` puts both on the image tokens.
    """

    kind: PoolerKind = "cascade"
    caption_queries: int = 256
    heads: int = 12

    def __post_init__(self) -> None:
        _one_of("pooler.kind", self.kind, ("cascade", "parallel"))


@dataclass(frozen=True)
class TextConfig:
    """The unimodal and the multimodal text decoder, which share width and heads (paper section 3.2)."""

    width: int = 768
    unimodal_layers: int = 12
    multimodal_layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    context_length: int = 64
    vocabulary_size: int = 64000
    tied_output: bool = False

    def __post_init__(self) -> None:
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
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def embedded_config(vocabulary_size: int) -> CoCaConfig:
    """The default that ships in `data/`: MobileNetV2 as the stem, then small towers of width 384."""
    return CoCaConfig(
        image=ImageConfig(224, 32, "mobilenet_v2", width=384, layers=3, heads=6, mlp_width=1536, resize="squash"),
        pooler=PoolerConfig(caption_queries=32, heads=6),
        text=TextConfig(384, 4, 3, heads=6, mlp_width=1536, context_length=48, vocabulary_size=vocabulary_size, tied_output=True),
        embedding_width=384,
    )


def read_config(path: Path) -> CoCaConfig:
    """Read a config from `path`. Raises CheckpointError where the file is not one."""
    try:
        raw: dict[str, Any] = json.loads(path.read_text())
        image = dict(raw["image"], mean=tuple(raw["image"]["mean"]), std=tuple(raw["image"]["std"]))
        return CoCaConfig(ImageConfig(**image), PoolerConfig(**raw["pooler"]), TextConfig(**raw["text"]), raw["embedding_width"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: not a CoCa config ({error!r}). Expected the JSON that CoCaConfig.to_json writes.") from error
