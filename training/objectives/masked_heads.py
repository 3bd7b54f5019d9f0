"""The masked objectives of a phase, with the heads that they train beside the model (see `masked.py`).

Masked words and patches come from COTS, painted patches from SyCoCa. The target of a patch is its feature behind the frozen
units, because the feature cache holds no pixels.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from coca_model.architecture.coca import CoCa
from training.batches.batch import Batch
from training.errors import TrainingError
from training.objectives.masked import (
    MaskedHead,
    TextGuidedDecoder,
    VisualCodebook,
    attentive_mask,
    mask_largest,
    mask_tokens,
    text_guided_reconstruction_loss,
)
from training.prepare.corpus import Texts

MASKED = ("masked_words", "masked_patches", "painted_patches")
_WORDS, _PATCHES, _PAINTED = 0.3, 0.4, 0.5  # shares that are masked; half is the paper's
_CODES = 512
Cost = tuple[Tensor, Tensor]


class MaskedObjectives(nn.Module):
    """Heads and costs of the named objectives.

    Args:
        names: of `MASKED`.
        maps: some features behind the frozen units, (N, H', W', C) or (N, P, C), to learn the codes of patches from.
        special_ids: tokens that are not words. The first, padding, replaces a masked word.
    """

    def __init__(
        self, names: Sequence[str], model: CoCa, maps: Tensor, *, frozen_units: int, special_ids: Sequence[int], seed: int
    ) -> None:
        super().__init__()
        config, self.frozen_units, self.special_ids = model.config, frozen_units, tuple(special_ids)
        self.names = tuple(names)
        maps = maps.flatten(1, -2).float()  # (N, P', C)
        if names != ("masked_words",) and (maps.shape[1] != config.image.num_patches or frozen_units > model.image_tower.stem_units):
            raise TrainingError(
                f"frozen_units does not give a map of {config.image.num_patches} patches ({frozen_units}), which {', '.join(names)} need. "
                "Freeze the whole stem, or the units of a convolutional stem that halve the picture."
            )
        width, features = config.image.width, maps.shape[-1]
        heads: dict[str, nn.Module] = {}
        if "masked_words" in names:
            heads["masked_words"] = MaskedHead(config.text.width, config.embedding_width, config.text.vocabulary_size)
        if "masked_patches" in names:
            book = VisualCodebook.fit(maps, min(_CODES, maps.shape[0] * maps.shape[1]), seed)
            heads["codes"] = book
            heads["masked_patches"] = MaskedHead(width, config.embedding_width, len(book.centroids))
            self.hidden_patch = nn.Parameter(torch.zeros(features))
        if "painted_patches" in names:
            heads["painted_patches"] = TextGuidedDecoder(
                config.image.num_patches, width, text_width=config.text.width, target_width=features
            )
        self.heads = nn.ModuleDict(heads)

    def forward(self, model: CoCa, batch: Batch, image: tuple[Tensor, Tensor], text: tuple[Tensor, Tensor]) -> dict[str, Cost]:
        """For each objective the sum of its costs over masked parts, and their number.

        Args:
            batch: with cached features as pictures, texts, and noise.
            image: of the pictures the embeddings (B, E), not normalised, and the tokens (B, P', D).
            text: of the texts the same, (B, E) and (B, T, D).
        """
        pictures, texts, noise = batch.pictures, batch.texts, batch.noise
        assert pictures is not None, "masked objectives need pictures"
        assert texts is not None, "and their texts"
        assert noise is not None, "and noise to draw the masks from"
        costs = {}
        if "masked_words" in self.names:
            costs["masked_words"] = self._masked_words(model, texts, image[0], noise)
        if "masked_patches" in self.names:
            costs["masked_patches"] = self._masked_patches(model, pictures, text[0], noise)
        if "painted_patches" in self.names:
            costs["painted_patches"] = self._painted_patches(model, pictures, texts, None if batch.patches is not None else image[1], text)
        return costs

    def _masked_words(self, model: CoCa, texts: Texts, image: Tensor, noise: Tensor) -> Cost:
        noise = noise[:, : texts.valid.shape[1]]  # (B, T)
        masked_ids, masked = mask_tokens(
            texts.token_ids, texts.valid, noise, share=_WORDS, mask_id=self.special_ids[0], special_ids=self.special_ids
        )
        _, tokens = model.encode_text(masked_ids, texts.valid)  # (B, T, D)
        return self.heads["masked_words"](tokens, image, texts.token_ids, masked) * masked.sum(), masked.sum()

    def _masked_patches(self, model: CoCa, pictures: Tensor, text: Tensor, noise: Tensor) -> Cost:
        maps = pictures.flatten(1, -2)  # (B, P, C)
        noise = noise[:, : maps.shape[1]]  # (B, P)
        masked = mask_largest(noise, torch.ones_like(noise, dtype=torch.bool), share=_PATCHES)
        shown = torch.where(masked[..., None], self.hidden_patch.to(maps.dtype), maps).view_as(pictures)
        tokens = model.image_tower.finish(shown, self.frozen_units)[:, -maps.shape[1] :]  # (B, P, D), without a class token
        codes = cast("VisualCodebook", self.heads["codes"]).ids(maps.float())
        return self.heads["masked_patches"](tokens, text, codes, masked) * masked.sum(), masked.sum()

    def _painted_patches(self, model: CoCa, pictures: Tensor, texts: Texts, tokens: Tensor | None, text: tuple[Tensor, Tensor]) -> Cost:
        """Masks the patches nearest to the text in the common embedding space; where SyCoCa compares them is not known to us.

        Needs the tokens of all patches. If the step has only some (`tokens` is None), they are computed again.
        """
        maps = pictures.flatten(1, -2)  # (B, P, C)
        tokens = (model.image_tower.finish(pictures, self.frozen_units) if tokens is None else tokens)[:, -maps.shape[1] :]  # (B, P, D)
        masked = attentive_mask(model.poolers.embed_each(tokens), text[0], share=_PAINTED)
        painted = self.heads["painted_patches"](tokens, masked, text[1], texts.valid)  # (B, P, C)
        loss = text_guided_reconstruction_loss(painted.float(), maps.float(), masked)
        return loss * masked.sum(), masked.sum()
