"""What the rest of the world uses of a CoCa: pictures and texts in, vectors, captions and likelihoods out.

The encoder owns device, dtype and batch size; callers hand over pictures and get NumPy, and need no torch.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from coca_model.checkpoint import find_checkpoint, read_checkpoint
from coca_model.coca import CoCa
from coca_model.config import CoCaConfig
from coca_model.generate import beam_search, log_likelihood
from coca_model.preprocess import PictureSource, open_picture, to_square
from coca_model.tokenizer import Tokenizer, clean_text

Pixels = NDArray[np.uint8]
Vectors = NDArray[np.float32]
_BATCH = 32


class Encoder:
    """A CoCa ready to use. Make one with `load`.

    Attributes:
        model_id: name and weights, so that a collection knows the model its vectors came from.
        preprocessing_id: how a picture becomes pixels; vectors with another one are not comparable.
        config: the shape of the model; `config.embedding_width` is E.
    """

    def __init__(self, model: CoCa, tokenizer: Tokenizer, *, model_id: str, device: torch.device, dtype: torch.dtype) -> None:
        self.model_id = model_id
        self.config: CoCaConfig = model.config
        image = model.config.image
        self.preprocessing_id = f"{image.resize}-{image.image_size}-bicubic"
        self.device, self.dtype = device, dtype
        self._model = model.to(device=device, dtype=dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._tokenizer = tokenizer

    @property
    def min_side(self) -> int:
        """A JPEG may be decoded at a reduced scale down to this many pixels a side: twice what the image tower reads."""
        return 2 * self.config.image.image_size

    def preprocess(self, picture: PictureSource | Pixels) -> Pixels:
        """One picture to the pixels of the image tower: uint8 (H, W, 3), RGB, 0..255.

        Raises:
            PictureError: the picture cannot be read.
        """
        if isinstance(picture, np.ndarray):
            picture = Image.fromarray(picture)
        return to_square(open_picture(picture, min_side=self.min_side), self.config.image)

    def encode_images(self, images: Sequence[PictureSource | Pixels]) -> Vectors:
        """Paths, encoded bytes, Pillow images or uint8 (H, W, 3) arrays -> float32 (N, E), each row of L2 norm 1.

        Raises:
            PictureError: an image cannot be read; the message names it.
        """
        return self.encode_pixels(self._stack(images))

    def encode_pixels(self, pixels: Pixels) -> Vectors:
        """Pixels from `preprocess`, uint8 (N, H, W, 3) -> float32 (N, E), each row of L2 norm 1."""
        with torch.inference_mode():
            parts = [self._model.encode_image(batch)[0] for batch in self._batches(pixels)]
        return self._normalised(parts)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """N texts -> float32 (N, E), each row of L2 norm 1; a text longer than the context is cut and a warning says so."""
        token_ids, valid = self._tokens(texts)
        with torch.inference_mode():
            parts = [self._model.encode_text(*batch)[0] for batch in zip(token_ids.split(256), valid.split(256), strict=True)]
        return self._normalised(parts)

    def caption(self, images: Sequence[PictureSource | Pixels], *, beams: int = 4) -> list[str]:
        """One sentence for each image. Raises PictureError where an image cannot be read."""
        batches = self._batches(self._stack(images))
        with torch.inference_mode():
            tokens = [self._model.encode_image(batch)[1] for batch in batches]
            return [text for part in tokens for text in beam_search(self._model, part, self._tokenizer, beams=beams)]

    def score(self, images: Sequence[PictureSource | Pixels] | None, texts: Sequence[str]) -> Vectors:
        """Natural-log likelihood of each text, given each image or, with `images=None`, given none.

        Returns:
            float32 (M, N), log p(text n | image m); with `images=None` float32 (N,), log p(text n).
        """
        token_ids, valid = self._tokens(texts)
        with torch.inference_mode():
            if images is None:
                return log_likelihood(self._model, None, token_ids, valid).float().cpu().numpy()
            tokens = [self._model.encode_image(batch)[1] for batch in self._batches(self._stack(images))]
            rows = [log_likelihood(self._model, part, token_ids, valid) for part in tokens]
        return torch.cat(rows).float().cpu().numpy() if rows else np.zeros((0, len(texts)), np.float32)

    def _stack(self, images: Sequence[PictureSource | Pixels]) -> Pixels:
        size = self.config.image.image_size
        return np.stack([self.preprocess(image) for image in images]) if len(images) else np.zeros((0, size, size, 3), np.uint8)

    def _batches(self, pixels: Pixels) -> list[Tensor]:
        return [torch.from_numpy(pixels[i : i + _BATCH]).to(self.device) for i in range(0, len(pixels), _BATCH)]

    def _tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        if isinstance(texts, str):
            raise ValueError(f"Texts are a string ({texts!r}). Pass a list of strings.")
        token_ids, valid = self._tokenizer.encode([clean_text(text) for text in texts])
        return token_ids.to(self.device), valid.to(self.device)

    def _normalised(self, parts: list[Tensor]) -> Vectors:
        if not parts:
            return np.zeros((0, self.config.embedding_width), np.float32)
        return F.normalize(torch.cat(parts).float(), dim=-1).cpu().numpy()


def load(name_or_path: str | Path = "default", device: str | None = None, dtype: torch.dtype | None = None) -> Encoder:
    """Load a CoCa.

    Args:
        name_or_path: "default" for the checkpoint that ships with the project, or a checkpoint folder.
        device: a torch device; CUDA where there is one, else the CPU.
        dtype: of the weights; by default bfloat16 where the machine multiplies it fast, else float32.

    Raises:
        CheckpointError: nothing there, or it is damaged or does not fit its config.
    """
    folder = find_checkpoint(name_or_path)
    model, tokenizer, sha256 = read_checkpoint(folder)
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return Encoder(model, tokenizer, model_id=f"{folder.name}@{sha256[:16]}", device=where, dtype=dtype or fast_dtype(where))


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device has matrix instructions for it (CUDA, AMX, AVX512-BF16), else float32."""
    if device.type == "cuda":
        return torch.bfloat16
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        capabilities = torch.cpu.get_capabilities()
    return torch.bfloat16 if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") else torch.float32
