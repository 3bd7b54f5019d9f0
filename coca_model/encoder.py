"""The interface of a CoCa: pictures and texts in; vectors, captions and likelihoods out.

The encoder owns device, dtype and batch size. Callers pass pictures, get NumPy arrays, and need no torch.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from coca_model.architecture.coca import CoCa
from coca_model.architecture.config import CoCaConfig
from coca_model.checkpoints.find import find_checkpoint
from coca_model.checkpoints.read_write import read_checkpoint
from coca_model.decoding.generate import CachedDecoder, Decoder, GuidedDecoder, generate
from coca_model.decoding.likelihood import log_likelihood
from coca_model.decoding.options import CaptionOptions
from coca_model.machine import batch_size, fast_dtype, one_thread, use_cpus
from coca_model.packed_linear import pack_linear_layers
from coca_model.preprocess import OVERSAMPLING, to_square
from coca_model.tokenizer import TEXT_BATCH, Tokenizer, batches_by_length
from media.pictures.picture import PictureSource, open_picture

Pixels = NDArray[np.uint8]
Vectors = NDArray[np.float32]
_GUIDANCE = 1.5  # the best of 1, 1.25, 1.5, 1.75, 2 and 2.5 on 400 pictures of Flickr8k val: see docs/LOG.md, 2026-11-24


class Encoder:
    """A CoCa ready to use. `load` makes one."""

    def __init__(self, model: CoCa, tokenizer: Tokenizer, *, model_id: str, device: torch.device, dtype: torch.dtype) -> None:
        self.model_id = model_id  # name and hash of the weights; a collection stores it with its vectors
        self.config: CoCaConfig = model.config  # `config.embedding_width` is E
        image = model.config.image
        self.preprocessing_id = image.preprocessing_id  # vectors with different ids cannot be compared
        self.min_side = OVERSAMPLING * image.image_size  # pixels: with a JPEG reduced to this size, the embedding hardly changes
        self.device, self.dtype, self.batch_size = device, dtype, batch_size(device, image)
        self.logit_scale = float(model.log_scale.detach().float().exp())  # factor of cosines in the contrastive loss, 1 / temperature
        self._model = model.to(device=device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        pack_linear_layers(self._model)
        self._tokenizer = tokenizer

    def preprocess(self, picture: PictureSource | Pixels) -> Pixels:
        """One picture -> pixels for the image tower: uint8 (H, W, 3), RGB, 0..255. Raises PictureError if it cannot be read."""
        if isinstance(picture, np.ndarray):
            picture = Image.fromarray(picture)
        return to_square(open_picture(picture, min_side=self.min_side), self.config.image)

    def encode_images(self, images: Sequence[PictureSource | Pixels]) -> Vectors:
        """Paths, encoded bytes, Pillow images or uint8 (H, W, 3) arrays -> float32 (N, E), each row of L2 norm 1. Raises PictureError."""
        return self.encode_pixels(self._stack(images))

    @torch.inference_mode()
    def encode_pixels(self, pixels: Pixels) -> Vectors:
        """Pixels from `preprocess`, uint8 (N, H, W, 3) -> float32 (N, E), each row of L2 norm 1."""
        embed, tower = self._model.poolers.embed, self._model.image_tower
        with one_thread() if self._is_small(len(pixels)) else nullcontext():
            return _normalised(torch.cat([embed(tower(batch)) for batch in self._batches(pixels)]))

    @torch.inference_mode()
    def encode_image_tokens(self, images: Sequence[PictureSource | Pixels]) -> Tensor:
        """Images as in `encode_images` -> caption tokens (N, Q, D) in the dtype of the model. Raises PictureError.

        Compute them once to caption and score the same pictures several times.
        """
        return torch.cat([self._model.encode_image(batch)[1] for batch in self._batches(self._stack(images))])

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """N texts -> float32 (N, E), each row of L2 norm 1. A text longer than the context is cut, with a warning."""
        return _normalised(self._by_length(texts, lambda ids, valid: self._model.unimodal(ids, valid)[0]))

    @torch.inference_mode()
    def caption(self, images: Sequence[PictureSource | Pixels] | Tensor, options: CaptionOptions | None = None) -> list[str]:
        """One sentence for each of N images. Raises PictureError if an image cannot be read."""
        options = self.caption_options(options)
        random = torch.Generator(self.device).manual_seed(options.seed)
        captions: list[str] = []
        for tokens in self._image_tokens(images).split(self.batch_size):
            decoder: Decoder = CachedDecoder(self._model, tokens)
            if options.guidance is not None and options.guidance != 1:
                decoder = GuidedDecoder(CachedDecoder(self._model, tokens), CachedDecoder(self._model, self._null), weight=options.guidance)
            captions += map(self._tokenizer.decode, generate(decoder, len(tokens), self._tokenizer.special, options, random=random))
        return captions

    def caption_options(self, options: CaptionOptions | None = None) -> CaptionOptions:
        """The options that `caption` uses: `max_tokens` limited to the context, and the default of `guidance` filled in.

        By default, guidance is on if the decoder was also trained on sentences without pictures, because it then models p(text).
        """
        options = options or CaptionOptions()
        guidance = (_GUIDANCE if self.config.text.text_only else 1.0) if options.guidance is None else options.guidance
        return replace(options, guidance=guidance, max_tokens=min(options.max_tokens, self.config.text.context_length - 1))

    @torch.inference_mode()
    def score(self, images: Sequence[PictureSource | Pixels] | Tensor | None, texts: Sequence[str]) -> Vectors:
        """Natural-log likelihood of each text, given each image or, with `images=None`, given no image (paper equation 3).

        For log p(text), a model that was also trained on text alone runs without an image. For other models, whose decoder has always
        seen a picture, a grey one stands for "no picture" (the null image of Lin et al. 2024, arXiv 2306.01879, section 4).
        The end token counts. With CLIP's tokenizer, "!" inside a word does not count, because padding has the same id.

        Returns:
            float32 (M, N), log p(text n | image m); with `images=None` float32 (N,), log p(text n).
        """
        tokens = self._null if images is None else self._image_tokens(images)
        scores = self._by_length(texts, lambda ids, valid: torch.atleast_2d(log_likelihood(self._model, tokens, ids, valid)).T).T  # (M, N)
        return (scores.flatten() if images is None else scores).cpu().numpy()

    def _is_small(self, num_pictures: int) -> bool:
        """Whether threads would mostly wait for each other: one picture as a query, in the many small layers of a convolutional stem."""
        return num_pictures == 1 and self.device.type == "cpu" and self.config.image.stem != "patch"

    def _image_tokens(self, images: Sequence[PictureSource | Pixels] | Tensor) -> Tensor:
        return images if isinstance(images, Tensor) else self.encode_image_tokens(images)

    @cached_property
    def _null(self) -> Tensor | None:
        """The input for "no picture": None, or caption tokens of a grey picture (1, Q, D) if the decoder was never trained without one."""
        if self.config.text.text_only:
            return None
        size = self.config.image.image_size
        grey = (255 * torch.tensor(self.config.image.mean)).round().to(torch.uint8).expand(1, size, size, 3)
        return self._model.encode_image(grey.to(self.device))[1]

    def _stack(self, images: Sequence[PictureSource | Pixels]) -> Pixels:
        if isinstance(images, str | bytes | PathLike | Image.Image) or getattr(images, "ndim", 4) != 4:
            raise ValueError(f"This is a single image ({images!r:.80}). Pass a list of images.")
        size = self.config.image.image_size
        return np.array([self.preprocess(image) for image in images], np.uint8).reshape(-1, size, size, 3)

    def _batches(self, pixels: Pixels) -> list[Tensor]:
        """The batches; a single empty one if there are no pictures."""
        return [batch.to(self.device) for batch in torch.from_numpy(pixels).split(self.batch_size)]

    def _by_length(self, texts: Sequence[str], compute: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Run `compute` on token ids (B, T) and valid (B, T) of texts of similar length. Returns its rows in the order of the texts."""
        order, outputs = [], []
        for numbers, token_ids, valid in batches_by_length(*self._tokenizer.encode(texts), TEXT_BATCH):
            order.append(numbers)
            outputs.append(compute(*(torch.from_numpy(each).to(self.device) for each in (token_ids, valid))))
        return torch.cat(outputs)[np.concatenate(order).argsort()]


def _normalised(vectors: Tensor) -> Vectors:
    return F.normalize(vectors.float(), dim=-1).cpu().numpy()


def load(name_or_path: str | Path = "default", device: str | None = None, dtype: torch.dtype | None = None) -> Encoder:
    """Load a CoCa.

    Args:
        name_or_path: "default" for the checkpoint that ships with the project; a checkpoint folder; a file of open_clip's
            `coca_ViT-B-32` or `coca_ViT-L-14` (.safetensors, .bin, .pt); or a name on the Hugging Face hub, such as
            "laion/CoCa-ViT-B-32-laion2B-s13B-b90k", which is downloaded once.
        device: a torch device. By default CUDA if available, else the CPU.
        dtype: of the weights. By default bfloat16 if the device has instructions for it, else float32.

    Raises:
        CheckpointError: the checkpoint is missing or damaged, or does not fit its config.
    """
    use_cpus()
    files = find_checkpoint(name_or_path)
    model, tokenizer, sha256 = read_checkpoint(files)
    on = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return Encoder(model, tokenizer, model_id=f"{files.name}@{sha256[:16]}", device=on, dtype=dtype or fast_dtype(on))
