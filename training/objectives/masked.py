"""Losses that mask part of a picture or a text, and predict it with the help of the other modality.

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

from coca_model.architecture.transformer import Block

ROWS_AT_A_TIME = 8192  # of the distances between features and centroids, so that they fit in memory


def mask_largest(score: Tensor, allowed: Tensor, *, share: float) -> Tensor:
    """Bool (B, N): in each row the `share` (0..1) of the `allowed` positions (bool, B, N) with the largest scores, rounded up.

    Uniform noise as scores gives a random mask. The caller draws it, so that the mask of a row does not depend on micro-batches.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"The share to mask is out of range ({share}). Allowed: 0..1.")
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

    Args:
        token_ids: int64 (B, T).
        valid: bool (B, T), False on padding.
        noise: float (B, T), uniform.
        share: 0..1, of the words that are neither padding nor special, rounded up.
        mask_id: replaces a masked word.
        special_ids: tokens that are never masked, such as start and end.

    Returns:
        int64 (B, T), the masked texts, and bool (B, T), the masked positions.
    """
    special = torch.tensor(special_ids, dtype=token_ids.dtype, device=token_ids.device)
    is_masked = mask_largest(noise, valid & ~torch.isin(token_ids, special), share=share)
    return token_ids.masked_fill(is_masked, mask_id), is_masked


def masked_prediction_loss(hidden: Tensor, head: nn.Linear, target_ids: Tensor, is_masked: Tensor) -> Tensor:
    """The mean of -log p of the masked tokens (both terms of COTS's masked vision-language modelling).

    Args:
        hidden: float (B, N, D).
        head: gives logits (..., V) of words or of codes of the `VisualCodebook`; only computed for masked positions.
        target_ids: int64 (B, N), the true tokens; only read for masked positions.
        is_masked: bool (B, N).

    Returns:
        A scalar in nats. If nothing is masked it is 0 with a zero gradient, which DistributedDataParallel waits for.
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
        """Cluster all rows of float features (..., C) on the CPU by k-means. Raises ValueError if there are fewer rows than `k`."""
        import faiss  # only these objectives need it, and other runs start without it

        rows = features.reshape(-1, features.shape[-1])  # (rows, C)
        if not 1 <= k <= len(rows):
            raise ValueError(f"The number of codes does not fit the features ({k}). Allowed: 1..{len(rows)}, the number of patches.")
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

    Only the text can tell what these patches show. That the similarity is the cosine could not be verified.

    Args:
        image_tokens: float (B, P, E), in the space of the text.
        text: (B, E), the vector of the text.
        share: 0..1, of the patches, rounded up; 0.5 in the paper.

    Returns:
        bool (B, P), True on patches to mask.
    """
    score = (F.normalize(image_tokens, dim=-1) @ F.normalize(text, dim=-1)[:, :, None])[..., 0]  # (B, P)
    return mask_largest(score, torch.ones_like(score, dtype=torch.bool), share=share)


def text_guided_reconstruction_loss(predicted: Tensor, target: Tensor, masked: Tensor) -> Tensor:
    """The mean squared error on masked patches, over patches and features (MAE, He et al. 2022, arXiv 2111.06377).

    As in MAE, each patch of the target is normalised to mean 0 and variance 1. SyCoCa predicts pixels; whether its error is
    squared or absolute could not be verified.

    Args:
        predicted: float (B, P, C).
        target: (B, P, C), features of a frozen stem. Gets no gradient.
        masked: bool (B, P).

    Returns:
        A scalar; 0 if nothing is masked.
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
