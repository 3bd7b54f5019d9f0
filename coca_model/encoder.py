"""What the rest of the world uses of a CoCa: pictures and texts in, vectors, captions and likelihoods out.

The encoder owns device, dtype and batch size; callers hand over pictures and get NumPy, and need no torch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
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
from coca_model.decoding.cached_decoder import CachedDecoder, Decoder, GuidedDecoder
from coca_model.decoding.generate import CaptionOptions, generate
from coca_model.decoding.likelihood import log_likelihood
from coca_model.machine import batch_size, fast_dtype, use_cpus
from coca_model.packed_linear import pack_linear_layers
from coca_model.preprocess import OVERSAMPLING, PictureSource, open_picture, to_square
from coca_model.tokenizer import Tokenizer

Pixels = NDArray[np.uint8]
Vectors = NDArray[np.float32]
_TEXT_BATCH = 256
_GUIDANCE = 1.5  # of 1, 1.25, 1.5, 1.75, 2 and 2.5, on 400 pictures of Flickr8k val: see docs/LOG.md, 2026-11-24


@dataclass(frozen=True)
class ImageTokens:
    """What the decoder sees of N pictures, computed once: captions and scores of any number of texts read it again.

    Made by `Encoder.encode_image_tokens`; belongs to that model and stays on its device.
    """

    tokens: Tensor  # (N, Q, D), in the model's dtype

    def __len__(self) -> int:
        return len(self.tokens)


class Encoder:
    """A CoCa ready to use. Make one with `load`.

    Attributes:
        model_id: name and weights, so that a collection knows the model its vectors came from.
        preprocessing_id: how a picture becomes pixels; vectors with another one are not comparable.
        config: the shape of the model; `config.embedding_width` is E.
        batch_size: pictures that go through the model together.
        logit_scale: what cosines are multiplied by in the contrastive loss, 1 / temperature.
    """

    def __init__(self, model: CoCa, tokenizer: Tokenizer, *, model_id: str, device: torch.device, dtype: torch.dtype) -> None:
        self.model_id = model_id
        self.config: CoCaConfig = model.config
        image = model.config.image
        self.preprocessing_id = f"{image.resize}-{image.image_size}-bicubic-srgb"
        self.device, self.dtype, self.batch_size = device, dtype, batch_size(device, image)
        self.logit_scale = float(model.log_scale.detach().float().exp())
        self._model = model.to(device=device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        pack_linear_layers(self._model)
        self._tokenizer = tokenizer

    @property
    def min_side(self) -> int:
        """A JPEG may be decoded at a reduced scale down to this many pixels a side, which changes no embedding that counts."""
        return OVERSAMPLING * self.config.image.image_size

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

    @torch.inference_mode()
    def encode_pixels(self, pixels: Pixels) -> Vectors:
        """Pixels from `preprocess`, uint8 (N, H, W, 3) -> float32 (N, E), each row of L2 norm 1."""
        return self._normalised([self._model.embed_image(batch) for batch in self._batches(pixels)])

    @torch.inference_mode()
    def encode_image_tokens(self, images: Sequence[PictureSource | Pixels]) -> ImageTokens:
        """Images, as `encode_images` takes them -> what `caption` and `score` read of them. Raises PictureError."""
        parts = [self._model.encode_image(batch)[1] for batch in self._batches(self._stack(images))]
        return ImageTokens(torch.cat(parts) if parts else self._no_picture[:0])

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """N texts -> float32 (N, E), each row of L2 norm 1; a text longer than the context is cut and a warning says so."""
        return self._normalised([self._by_length(texts, lambda ids, valid: self._model.encode_text(ids, valid)[0])])

    @torch.inference_mode()
    def caption(self, images: Sequence[PictureSource | Pixels] | ImageTokens, options: CaptionOptions | None = None) -> list[str]:
        """One sentence for each of N images, chosen as `options` say. Raises PictureError where an image cannot be read."""
        options = self.caption_options(options)
        decoder = partial(self._decoder, guidance=options.guidance or 1.0)
        random = torch.Generator(self.device).manual_seed(options.seed)
        return [
            self._tokenizer.decode(ids)
            for part in self._image_tokens(images).split(self.batch_size)
            for ids in generate(decoder(part), len(part), self._tokenizer.special, options, random=random)
        ]

    def caption_options(self, options: CaptionOptions | None = None) -> CaptionOptions:
        """The options as `caption` follows them: no longer than the context, and guided where nothing else is said.

        A decoder that was trained on sentences without a picture too, and knows what is likely whatever is shown, is guided by default.
        """
        options = options or CaptionOptions()
        guidance = (_GUIDANCE if self.config.text.text_only else 1.0) if options.guidance is None else options.guidance
        return replace(options, guidance=guidance, max_tokens=min(options.max_tokens, self.config.text.context_length - 1))

    @torch.inference_mode()
    def score(self, images: Sequence[PictureSource | Pixels] | ImageTokens | None, texts: Sequence[str]) -> Vectors:
        """Natural-log likelihood of each text, given each image or, with `images=None`, given none (paper equation 3).

        A model that was trained on text alone too leaves the image out; for another a picture of one grey stands for none (as
        null images in Lin et al. 2024, arXiv 2306.01879, section 4), since its decoder has always seen some picture.

        The end of the text counts; the "!" inside a word of CLIP's tokens does not, because it is their padding, as in their training.

        Returns:
            float32 (M, N), log p(text n | image m); with `images=None` float32 (N,), log p(text n).
        """
        if images is not None:
            tokens = self._image_tokens(images)
            return self._by_length(texts, lambda ids, valid: log_likelihood(self._model, tokens, ids, valid).T).T.cpu().numpy()
        blind = None if self.config.text.text_only else self._no_picture
        return self._by_length(texts, lambda ids, valid: log_likelihood(self._model, blind, ids, valid).flatten()).cpu().numpy()

    def _decoder(self, tokens: Tensor, guidance: float) -> Decoder:
        seeing = CachedDecoder(self._model, tokens)
        if guidance == 1:
            return seeing
        blind = CachedDecoder(self._model, None if self.config.text.text_only else self._no_picture)
        return GuidedDecoder(seeing, blind, weight=guidance)

    def _image_tokens(self, images: Sequence[PictureSource | Pixels] | ImageTokens) -> Tensor:
        return (images if isinstance(images, ImageTokens) else self.encode_image_tokens(images)).tokens

    @cached_property
    def _no_picture(self) -> Tensor:
        """Caption tokens (1, Q, D) of a picture that is all mean colour."""
        image = self.config.image
        grey = 255 * torch.tensor(image.mean).expand(1, image.image_size, image.image_size, 3)
        return self._model.encode_image(grey.round().to(torch.uint8).to(self.device))[1]

    def _stack(self, images: Sequence[PictureSource | Pixels]) -> Pixels:
        if isinstance(images, str | bytes | PathLike | Image.Image) or getattr(images, "ndim", 4) != 4:
            raise ValueError(f"Images are one ({images!r:.80}). Pass a list of them.")
        size = self.config.image.image_size
        return np.stack([self.preprocess(image) for image in images]) if len(images) else np.zeros((0, size, size, 3), np.uint8)

    def _batches(self, pixels: Pixels) -> list[Tensor]:
        return [torch.from_numpy(pixels[i : i + self.batch_size]).to(self.device) for i in range(0, len(pixels), self.batch_size)]

    def _by_length(self, texts: Sequence[str], compute: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """`compute` on token ids (B, T) and valid (B, T) of texts of about one length -> its rows in the order of the texts."""
        if isinstance(texts, str):
            raise ValueError(f"Texts are a string ({texts!r}). Pass a list of strings.")
        token_ids, valid = (rows.to(self.device) for rows in self._tokenizer.encode(texts))
        lengths = (valid * torch.arange(1, valid.shape[1] + 1, device=self.device)).amax(1)  # CLIP's "!" is its padding too: no sum
        order = lengths.argsort(stable=True)
        rows = []
        for part in order.split(_TEXT_BATCH):
            longest = int(lengths[part].max()) if len(part) else 2
            rows.append(compute(token_ids[part, :longest], valid[part, :longest]))
        return torch.cat(rows)[order.argsort()]

    def _normalised(self, parts: list[Tensor]) -> Vectors:
        if not parts:
            return np.zeros((0, self.config.embedding_width), np.float32)
        return F.normalize(torch.cat(parts).float(), dim=-1).cpu().numpy()


def load(name_or_path: str | Path = "default", device: str | None = None, dtype: torch.dtype | None = None) -> Encoder:
    """Load a CoCa.

    Args:
        name_or_path: "default" for the checkpoint that ships with the project; a checkpoint folder; a file of open_clip's
            `coca_ViT-B-32` or `coca_ViT-L-14` (.safetensors, .bin); or a name of the Hugging Face hub, downloaded once and kept
            in its cache, such as "laion/CoCa-ViT-B-32-laion2B-s13B-b90k".
        device: a torch device; CUDA where there is one, else the CPU.
        dtype: of the weights; by default bfloat16 where the machine multiplies it fast, else float32.

    Raises:
        CheckpointError: nothing there, or it is damaged or does not fit its config.
    """
    use_cpus()
    files = find_checkpoint(name_or_path)
    model, tokenizer, sha256 = read_checkpoint(files)
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return Encoder(model, tokenizer, model_id=f"{files.name}@{sha256[:16]}", device=where, dtype=dtype or fast_dtype(where))
