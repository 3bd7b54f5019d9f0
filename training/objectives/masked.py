"""Objectives that mask part of a picture or a text, and predict it with the help of the other modality.

COTS (Lu et al. 2022, arXiv 2204.07441) masks words and patches. It predicts them from the rest of their own modality and the
other's global vector: `mask_tokens` or `mask_largest`, then `MaskedHead`. The towers stay as they are.
SyCoCa (Ma et al. 2024, arXiv 2401.02137) masks the patches that the text is about, and reconstructs them while reading the text:
`attentive_mask`, `TextGuidedDecoder`, `text_guided_reconstruction_loss`.

The full text of neither paper could be read here, only abstracts, summaries and, for SyCoCa, a published reading of its sections
and tables. Comments mark the decisions that these leave open.

Axes: B batch, N tokens, P patches, T text length, C features of a patch, D width, E embedding, K codes, V vocabulary.
"""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coca_model.architecture.coca import CoCa
from coca_model.architecture.transformer import Block
from training.batches import Batch
from training.errors import TrainingError
from training.prepare.corpus import Texts

MASKED = ("masked_words", "masked_patches", "painted_patches")
ROWS_AT_A_TIME = 8192  # of the distances between features and centroids, so that they fit in memory
_WORDS, _PATCHES, _PAINTED = 0.3, 0.4, 0.5  # shares that are masked; half is the paper's
_CODES = 512
Cost = tuple[Tensor, Tensor]  # a mean and which parts are masked, or a sum and its number of terms


class MaskedObjectives(nn.Module):
    """Heads and costs of some of the `MASKED` objectives.

    The target of a patch is its feature behind the frozen units, because the feature cache holds no pixels. The codes of patches are
    learned from `maps`, some of these features: (N, H', W', C) or (N, P, C). The first of the `special_ids`, which are not words, is
    padding and replaces a masked word.
    """

    def __init__(
        self, names: Sequence[str], model: CoCa, maps: Tensor, *, frozen_units: int, special_ids: Sequence[int], seed: int
    ) -> None:
        super().__init__()
        config, self.frozen_units, self.special_ids = model.config, frozen_units, tuple(special_ids)
        patches, width, text_width = config.image.num_patches, config.image.width, config.text.width
        self.names, maps = tuple(names), maps.flatten(1, -2).float()  # (N, P', C)
        if names != ("masked_words",) and (maps.shape[1] != patches or frozen_units > model.image_tower.stem_units):
            raise TrainingError(
                f"frozen_units does not give a map of {patches} patches ({frozen_units}), which {', '.join(names)} need. "
                "Freeze the whole stem, or the units of a convolutional stem that halve the picture."
            )
        self.heads = nn.ModuleDict()
        if "masked_words" in names:
            self.heads["masked_words"] = MaskedHead(text_width, config.embedding_width, config.text.vocabulary_size)
        if "masked_patches" in names:
            self.heads["codes"] = book = VisualCodebook.fit(maps, min(_CODES, maps.shape[0] * maps.shape[1]), seed)
            self.heads["masked_patches"] = MaskedHead(width, config.embedding_width, len(book.centroids))
            self.hidden_patch = nn.Parameter(torch.zeros(maps.shape[-1]))
        if "painted_patches" in names:
            self.heads["painted_patches"] = TextGuidedDecoder(patches, width, text_width=text_width, target_width=maps.shape[-1])

    def forward(self, model: CoCa, batch: Batch, image: tuple[Tensor, Tensor], text: tuple[Tensor, Tensor]) -> dict[str, Cost]:
        """For each objective the sum of its costs over masked parts, and their number.

        The batch has cached features as pictures. `image` and `text` have the embeddings (B, E), not normalised, and the tokens
        (B, P', D) and (B, T, D).
        """
        pictures, texts, noise = batch.pictures, batch.texts, batch.noise
        assert pictures is not None and texts is not None and noise is not None, "masked objectives need all three"  # noqa: PT018
        compute = {
            "masked_words": lambda: self._masked_words(model, texts, image[0], noise),
            "masked_patches": lambda: self._masked_patches(model, pictures, text[0], noise),
            "painted_patches": lambda: self._painted_patches(model, pictures, texts, image[1] if batch.patches is None else None, text),
        }
        means = {name: compute[name]() for name in self.names}
        return {name: (mean * masked.sum(), masked.sum()) for name, (mean, masked) in means.items()}

    def _masked_words(self, model: CoCa, texts: Texts, image: Tensor, noise: Tensor) -> Cost:
        noise, pad = noise[:, : texts.valid.shape[1]], self.special_ids[0]  # (B, T)
        ids, masked = mask_tokens(texts.token_ids, texts.valid, noise, share=_WORDS, mask_id=pad, special_ids=self.special_ids)
        _, tokens = model.unimodal(ids, texts.valid)  # (B, T, D)
        return self.heads["masked_words"](tokens, image, texts.token_ids, masked), masked

    def _masked_patches(self, model: CoCa, pictures: Tensor, text: Tensor, noise: Tensor) -> Cost:
        maps = pictures.flatten(1, -2)  # (B, P, C)
        noise = noise[:, : maps.shape[1]]  # (B, P)
        masked = mask_largest(noise, torch.ones_like(noise, dtype=torch.bool), share=_PATCHES)
        shown = torch.where(masked[..., None], self.hidden_patch.to(maps.dtype), maps).view_as(pictures)
        tokens = model.image_tower.finish(shown, self.frozen_units)[:, -maps.shape[1] :]  # (B, P, D), without a class token
        codes = cast("VisualCodebook", self.heads["codes"]).ids(maps.float())
        return self.heads["masked_patches"](tokens, text, codes, masked), masked

    def _painted_patches(self, model: CoCa, pictures: Tensor, texts: Texts, tokens: Tensor | None, text: tuple[Tensor, Tensor]) -> Cost:
        """The mean cost, and which patches are masked: those nearest to the text in the common embedding space.

        Where SyCoCa compares them is not known to us. Needs the tokens of all patches. If the step has only some (`tokens` is
        None), they are computed again.
        """
        maps = pictures.flatten(1, -2)  # (B, P, C)
        tokens = (model.image_tower.finish(pictures, self.frozen_units) if tokens is None else tokens)[:, -maps.shape[1] :]  # (B, P, D)
        masked = attentive_mask(model.poolers.embed_each(tokens), text[0], share=_PAINTED)
        painted = self.heads["painted_patches"](tokens, masked, text[1], texts.valid)  # (B, P, C)
        return text_guided_reconstruction_loss(painted.float(), maps.float(), masked), masked


def mask_largest(score: Tensor, allowed: Tensor, *, share: float) -> Tensor:
    """Bool (B, N): in each row the `share` (0..1) of the `allowed` positions (bool, B, N) with the largest scores, rounded up.

    Uniform noise as scores gives a random mask. The caller draws it, so that the mask of a row does not depend on micro-batches.
    """
    counts = (share * allowed.sum(1, keepdim=True).double() - 1e-6).ceil()  # (B, 1); 0.07 * 100 is slightly above 7
    rank = score.masked_fill(~allowed, -math.inf).argsort(dim=1, descending=True, stable=True).argsort(1)
    return rank < counts


def mask_tokens(
    token_ids: Tensor, valid: Tensor, noise: Tensor, *, share: float, mask_id: int, special_ids: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Mask a share of each text's words, as BERT does (Devlin et al. 2019), but always with the mask token.

    BERT masks 15 %, each word by its own draw, and keeps or replaces a fifth of those. Captions are short: a third of them would
    lose no word (Bitton et al. 2021, arXiv 2109.02040). Here each loses at least one. COTS's share is not known to us.
    Our text decoder is causal, so unlike in COTS a masked word is predicted only from the words before it.

    The share, rounded up, is of the words that are neither padding (where `valid`, bool (B, T), is False) nor special, such as start
    and end. `noise`, float (B, T), is uniform. Returns the masked texts, int64 (B, T), and the masked positions, bool (B, T).
    """
    special = torch.tensor(special_ids, dtype=token_ids.dtype, device=token_ids.device)
    is_masked = mask_largest(noise, valid & ~torch.isin(token_ids, special), share=share)
    return token_ids.masked_fill(is_masked, mask_id), is_masked


def masked_prediction_loss(hidden: Tensor, head: nn.Linear, target_ids: Tensor, is_masked: Tensor) -> Tensor:
    """The mean of -log p of the masked tokens in nats (both terms of COTS's masked vision-language modelling).

    `head` gives logits (..., V) of words or of codes of the `VisualCodebook` from hidden states (B, N, D). The true tokens
    `target_ids`, int64 (B, N), and the logits are only needed where `is_masked`, bool (B, N). If nothing is masked, the loss is 0
    with a zero gradient, which DistributedDataParallel waits for.
    """
    costs = F.cross_entropy(head(hidden[is_masked]), target_ids[is_masked], reduction="sum")
    return costs / is_masked.sum().clamp(min=1)


class MaskedHead(nn.Module):
    """COTS's prediction without a cross-stream network: adds the other modality's global vector to each state, then classifies.

    The vector is projected to the width of the states. Whether the paper does more to it is not known to us.
    """

    def __init__(self, width: int, other_width: int, classes: int) -> None:
        super().__init__()
        self.project = nn.Linear(other_width, width, bias=False)
        self.classify = nn.Linear(width, classes)

    def forward(self, hidden: Tensor, other: Tensor, target_ids: Tensor, is_masked: Tensor) -> Tensor:
        """The `masked_prediction_loss` of hidden states (B, N, D), with the other modality's vector (B, E)."""
        return masked_prediction_loss(hidden + self.project(other)[:, None], self.classify, target_ids, is_masked)


class VisualCodebook(nn.Module):
    """A frozen tokenizer of patches: the code of a patch is its nearest of K centroids, by squared distance of the features.

    COTS uses a pretrained discrete variational autoencoder, which is not available here. k-means over the features of a frozen
    stem replaces it, as HuBERT does for sound (Hsu et al. 2021, arXiv 2106.07447, section II-A).
    """

    def __init__(self, centroids: Tensor) -> None:
        super().__init__()
        self.centroids: Tensor
        self.register_buffer("centroids", centroids)  # (K, C)

    @classmethod
    def fit(cls, features: Tensor, k: int, seed: int) -> "VisualCodebook":
        """Cluster all rows of float features (..., C), at least `k` of them, on the CPU by k-means."""
        import faiss  # only these objectives need it, and other runs start without it

        rows = features.reshape(-1, features.shape[-1])  # (rows, C)
        kmeans = faiss.Kmeans(rows.shape[1], k, seed=seed % 2**31, min_points_per_centroid=1, max_points_per_centroid=len(rows))
        kmeans.train(rows.numpy())
        return cls(torch.from_numpy(kmeans.centroids))

    @torch.no_grad()
    def ids(self, features: Tensor) -> Tensor:
        """Features (..., C) -> int64 (...), the nearest centroid of each."""
        lengths = self.centroids.square().sum(1)  # (K,); the squared norm of the feature is the same for all centroids
        parts = features.reshape(-1, features.shape[-1]).split(ROWS_AT_A_TIME)
        nearest = [(lengths - 2 * part @ self.centroids.T).argmin(1) for part in parts]
        return torch.cat(nearest).reshape(features.shape[:-1])


@torch.no_grad()
def attentive_mask(image_tokens: Tensor, text: Tensor, *, share: float) -> Tensor:
    """SyCoCa's attentive masking for text-guided reconstruction: masks the patches that are most similar to the text.

    Only the text can tell what these patches show. That the similarity is the cosine could not be verified. The image tokens,
    (B, P, E), are in the space of the text's vector, (B, E). The share is rounded up; 0.5 in the paper. Returns bool (B, P).
    """
    score = (F.normalize(image_tokens, dim=-1) @ F.normalize(text, dim=-1)[:, :, None])[..., 0]  # (B, P)
    return mask_largest(score, torch.ones_like(score, dtype=torch.bool), share=share)


def text_guided_reconstruction_loss(predicted: Tensor, target: Tensor, masked: Tensor) -> Tensor:
    """The mean squared error on masked patches, bool (B, P), over patches and features (MAE, He et al. 2022, arXiv 2111.06377).

    As in MAE, each patch of the target is normalised to mean 0 and variance 1. SyCoCa predicts pixels; whether its error is
    squared or absolute could not be verified. `predicted` is float (B, P, C); the target holds features of a frozen stem, which
    get no gradient. The loss is 0 if nothing is masked.
    """
    target = F.layer_norm(target.detach().to(predicted.dtype), target.shape[-1:], eps=1e-6)
    errors = (predicted - target)[masked].square()  # (masked, C)
    return errors.sum() / max(errors.numel(), 1)


class TextGuidedDecoder(nn.Module):
    """SyCoCa's image decoder: image tokens, with a learned one for each masked patch, read the text and predict each patch.

    Masked tokens have no position, so positions are added. The depth of the paper's decoder could not be verified.
    """

    def __init__(self, patches: int, width: int, *, text_width: int, target_width: int, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.mask_token = nn.Parameter(torch.randn(width) * 0.02)
        self.position = nn.Parameter(torch.randn(patches, width) * 0.02)
        self.read_text = nn.Linear(text_width, width)
        self.blocks = nn.ModuleList(Block(width, heads, 4 * width, cross=True) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.predict = nn.Linear(width, target_width)

    def forward(self, image_tokens: Tensor, masked: Tensor, text_tokens: Tensor, valid: Tensor) -> Tensor:
        """Image tokens (B, P, D), masked bool (B, P), text tokens (B, T, D'), valid bool (B, T), False on padding -> (B, P, C).

        Each text has a valid token. `text_tokens` should come from a tower that did not see the picture.
        """
        x = torch.where(masked[..., None], self.mask_token, image_tokens) + self.position  # (B, P, D)
        text = self.read_text(text_tokens)  # (B, T, D)
        for block in cast("list[Block]", self.blocks):
            x = block(x, block.image_keys_values(text), image_mask=valid[:, None, None])
        return self.predict(self.norm(x))  # (B, P, C)
