"""The other side of the comparisons: open_clip 3.3.0. Both sides get the same random weights.

`make parity` and `make bench` install it into `.venv/open_clip`, apart from our dependencies (see `open_clip.txt`).
"""

import itertools
import logging
import zlib
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from coca_model import Encoder
from coca_model.architecture.coca import CoCa
from coca_model.checkpoints.find import CLIP_MERGES, shipped
from coca_model.checkpoints.open_clip import PUBLISHED, convert_weights
from coca_model.tokenizer import clip_tokenizer

NAME = "coca_ViT-B-32"  # the model of the benchmarks


class Sides(NamedTuple):
    """Both sides of a benchmark with the same random weights, and the pictures that they read."""

    theirs: Any  # in float32
    ours: Encoder  # in bfloat16
    exact: Encoder  # ours in float32
    pixels: np.ndarray  # uint8 (N, H, W, 3)
    batch: Tensor  # the same pixels for open_clip


@cache
def open_clip() -> Any:
    """The open_clip module. It imports torchvision, which needs declarations of two operators that are never called."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    try:
        module = import_module("open_clip")
    except ImportError as error:
        raise SystemExit(f"open_clip 3.3.0 is not on the path ({error}). `make parity` and `make bench` install it.") from error
    logging.getLogger().setLevel(logging.ERROR)  # it warns that weights are random
    module.__dict__["library"] = library  # keeps the declarations alive
    return module


def random_weights(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """float32 weights of about the size of trained ones. They depend only on `seed` and their names. Biases and norms are not trivial."""
    weights = {}
    for name, shape in shapes.items():
        values = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(shape, dtype=np.float32)
        if name.endswith("logit_scale"):
            values = np.full(shape, np.log(1 / 0.07), np.float32)
        elif name.endswith(("proj", "projection")):  # stored transposed
            values = values / np.sqrt(np.float32(shape[0]))
        elif len(shape) > 1 and not name.endswith(("query", "embedding")):
            values = values / np.sqrt(np.prod(shape[1:], dtype=np.float32))
        elif name.endswith("weight"):  # of a norm
            values = 1 + 0.1 * values
        elif name.endswith("bias"):
            values = 0.1 * values
        weights[name] = torch.from_numpy(np.asarray(values))
    return weights


def their_model(name: str) -> Any:
    """The model of open_clip with that name, in float32, for inference."""
    model = open_clip().create_model(name)
    model.load_state_dict(random_weights({key: tuple(value.shape) for key, value in model.state_dict().items()}))
    return model.eval()  # keep requires_grad: without it, its attention runs at 0.7 times the speed


def our_encoder(name: str, theirs: Any, dtype: torch.dtype) -> Encoder:
    """Our model with the weights of `theirs`."""
    with torch.device("meta"):
        model = CoCa(PUBLISHED[name])
    weights = {key: value.clone().contiguous() for key, value in convert_weights(theirs.state_dict()).items()}
    model.load_state_dict(weights, assign=True)
    tokenizer = clip_tokenizer(shipped(CLIP_MERGES), PUBLISHED[name].text.context_length)
    return Encoder(model.requires_grad_(False).eval(), tokenizer, model_id=name, device=torch.device("cpu"), dtype=dtype)


def both_sides(count: int) -> Sides:
    """Both sides of the model `NAME`, with `count` crops of photographs."""
    theirs = their_model(NAME)
    pixels = crops(count, PUBLISHED[NAME].image.image_size)
    ours, exact = (our_encoder(NAME, theirs, dtype) for dtype in (torch.bfloat16, torch.float32))
    return Sides(theirs, ours, exact, pixels, their_pixels(pixels, NAME))


def their_pixels(pixels: np.ndarray, name: str) -> Tensor:
    """uint8 (N, H, W, 3) -> float32 (N, 3, H, W), normalised as by open_clip's transform."""
    image = PUBLISHED[name].image
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (image.mean, image.std))
    return ((torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std).contiguous()


def photographs() -> list[np.ndarray]:
    """Six photographs of scikit-image and scikit-learn, uint8 (H, W, 3)."""
    from skimage import data
    from sklearn.datasets import load_sample_images

    return [data.astronaut(), data.coffee(), data.chelsea(), data.rocket(), *load_sample_images().images]


def crops(count: int, size: int) -> np.ndarray:
    """Crops of `photographs`, uint8 (count, size, size, 3)."""
    random, pieces = np.random.default_rng(0), []
    for picture in itertools.islice(itertools.cycle(photographs()), count):
        y, x = random.integers(0, picture.shape[0] - size + 1), random.integers(0, picture.shape[1] - size + 1)
        pieces.append(picture[y : y + size, x : x + size])
    return np.stack(pieces)


SENTENCES = (
    "a dog running on the beach",
    "Two men, talking; don't they know it's 3 o'clock?",
    "a",
    "a photograph of a plate of pasta with tomatoes and basil on a wooden table near the window",
    "!! wow! Caf&eacute; na\u00efve \U0001f600 \u65e5\u672c\u8a9e",
    "word " * 100,
    "seventy-five tokens " + "x " * 70,
)
