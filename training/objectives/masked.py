"""Objectives that hide part of a picture or a text, and ask for it with the help of the other modality.

COTS (Lu et al. 2022, arXiv 2204.07441) hides words and patches, and predicts which they were from what is left of their own
modality and the other's one global vector: `mask_tokens` or `random_mask`, then `MaskedHead`. Nothing is added to the towers.
SyCoCa (Ma et al. 2024, arXiv 2401.02137) hides the patches that the text is about, and paints them again while reading the text:
`attentive_mask`, `TextGuidedDecoder`, `text_guided_reconstruction_loss`.

Neither paper's full text could be read here; what we know of them is from abstracts, summaries and, for SyCoCa, a reading of its
sections and tables that others published. What that leaves open is marked where it is decided.

Axes: B batch, N tokens, P patches, T text length, C features of a patch, D width, E embedding, K codes, V vocabulary.
"""

import math
from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coca_model.transformer import Block

ROWS_AT_A_TIME = 8192  # of the distances between features and centroids, so that they fit in memory


def random_mask(allowed: Tensor, noise: Tensor, *, share: float) -> Tensor:
    """Bool (B, N): of each row's `allowed` (bool, B, N) places a `share` (0..1) where `noise` (B, N) is largest, rounded up.

    The noise is the caller's, so that a row loses the same places however the batch is split.
    """
    return _largest(noise, allowed, share)


def mask_tokens(
    token_ids: Tensor, valid: Tensor, noise: Tensor, *, share: float, mask_id: int, special_ids: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Hide a share of each text's words, as BERT does (Devlin et al. 2019), but all of them behind the mask token.

    BERT hides 15%, each word by its own draw, and leaves or swaps a fifth of those; captions are short, so that a third of them
    would lose no word (Bitton et al. 2021, arXiv 2109.02040). Here each loses at least one. COTS's share is not known to us.
    Our text decoder is causal: a hidden word is predicted from the words before it, unlike COTS's.

    Args:
        token_ids: int64 (B, T).
        valid: bool (B, T), False on padding.
        noise: float (B, T), evenly spread: the draw.
        share: 0..1, of the words that are neither padding nor special, rounded up.
        mask_id: what stands where a word was.
        special_ids: tokens that are never hidden, such as start and end.

    Returns:
        int64 (B, T), the text with its words hidden, and bool (B, T), where that is.
    """
    special = torch.tensor(special_ids, dtype=token_ids.dtype, device=token_ids.device)
    is_masked = random_mask(valid & ~torch.isin(token_ids, special), noise, share=share)
    return token_ids.masked_fill(is_masked, mask_id), is_masked


def masked_prediction_loss(hidden: Tensor, head: nn.Linear, target_ids: Tensor, is_masked: Tensor) -> Tensor:
    """Mean of -log p of what was hidden (the terms of both halves of COTS's masked vision-language modelling).

    Args:
        hidden: float (B, N, D). `head` brings them to logits (..., V), computed only where something was hidden.
        head: to the words of the vocabulary or the codes of `VisualCodebook`.
        target_ids: int64 (B, N), what stood there; read only where `is_masked`, bool (B, N).

    Returns:
        A scalar, in nats; 0 where nothing is hidden, still with a (zero) gradient, which DistributedDataParallel waits for.
    """
    costs = F.cross_entropy(head(hidden[is_masked]), target_ids[is_masked], reduction="sum")
    return costs / is_masked.sum().clamp(min=1)


class MaskedHead(nn.Module):
    """COTS's way without a cross-stream network: the other modality's global vector is added to each state, then classified.

    The vector is projected to the width of the states; whether the paper does more to it is not known to us.
    """

    def __init__(self, width: int, other_width: int, classes: int) -> None:
        super().__init__()
        self.project = nn.Linear(other_width, width, bias=False)
        self.classify = nn.Linear(width, classes)

    def mix(self, hidden: Tensor, other: Tensor) -> Tensor:
        """Hidden states (B, N, D) and the other modality's vector (B, E) -> (B, N, D)."""
        return hidden + self.project(other)[:, None]

    def forward(self, hidden: Tensor, other: Tensor) -> Tensor:
        """Hidden states (B, N, D) and the other modality's vector (B, E) -> logits (B, N, V)."""
        return self.classify(self.mix(hidden, other))

    def loss(self, hidden: Tensor, other: Tensor, target_ids: Tensor, is_masked: Tensor) -> Tensor:
        """`masked_prediction_loss` of `forward`, computed only where something was hidden."""
        return masked_prediction_loss(self.mix(hidden, other), self.classify, target_ids, is_masked)


class VisualCodebook(nn.Module):
    """A frozen tokenizer of patches: each is its nearest of K centroids, by squared distance between features.

    COTS takes the ids of a pretrained discrete variational autoencoder, which is not at hand here; k-means over the features of
    a frozen stem stands in for it, as HuBERT does for sound (Hsu et al. 2021, arXiv 2106.07447, section II-A).
    """

    def __init__(self, centroids: Tensor) -> None:
        super().__init__()
        self.centroids: Tensor
        self.register_buffer("centroids", centroids)  # (K, C)

    @classmethod
    @torch.no_grad()
    def fit(cls, features: Tensor, k: int, generator: torch.Generator, *, rounds: int = 10) -> "VisualCodebook":
        """Lloyd's k-means over all rows of float features (..., C), from k of them drawn at random. A centroid without rows stays.

        Raises:
            ValueError: There are fewer rows than `k`.
        """
        rows = features.reshape(-1, features.shape[-1])  # (rows, C)
        if not 1 <= k <= len(rows):
            raise ValueError(f"The number of codes does not fit the features ({k}). Allowed: 1..{len(rows)}, the number of patches.")
        drawn = torch.randperm(len(rows), generator=generator, device=generator.device)[:k]
        book = cls(rows[drawn.to(rows.device)].clone())
        for _ in range(rounds):
            ids = book.ids(rows)
            counts = ids.bincount(minlength=k)[:, None]  # (K, 1)
            sums = torch.zeros_like(book.centroids).index_add_(0, ids, rows)  # (K, C)
            book.centroids.copy_(torch.where(counts > 0, sums / counts.clamp(min=1), book.centroids))
        return book

    @torch.no_grad()
    def ids(self, features: Tensor) -> Tensor:
        """Features (..., C) -> int64 (...), the nearest centroid of each."""
        lengths = self.centroids.square().sum(1)  # (K,); the length of the feature itself is the same for all
        parts = features.reshape(-1, features.shape[-1]).split(ROWS_AT_A_TIME)
        nearest = [(lengths - 2 * part @ self.centroids.T).argmin(1) for part in parts]
        return torch.cat(nearest).reshape(features.shape[:-1])


@torch.no_grad()
def attentive_mask(
    image_tokens: Tensor, text: Tensor, *, share: float, patches: Literal["like", "unlike"], valid: Tensor | None = None
) -> Tensor:
    """SyCoCa's attentive masking: which patches to hide, by how much the text is about them.

    A patch's score is its largest similarity to a token of the text. For text-guided masked image modelling the paper hides the
    half that scores highest ("like"), which only the text can tell; for captioning it hides the half that scores lowest
    ("unlike"), which the text does not mention. That the similarity is the cosine could not be verified.

    Args:
        image_tokens: float (B, P, D).
        text: (B, T, D), the tokens of the text in the space of `image_tokens`; or (B, D), its one vector.
        share: 0..1, of the patches, rounded up; 0.5 in the paper.
        patches: which end of the scores.
        valid: bool (B, T), False on padding; each text has a token. All are read when absent.

    Returns:
        bool (B, P), True on patches to hide.
    """
    words = F.normalize(text[:, None] if text.dim() == 2 else text, dim=-1)  # (B, T, D)
    similar = F.normalize(image_tokens, dim=-1) @ words.transpose(1, 2)  # (B, P, T)
    if valid is not None:
        similar = similar.masked_fill(~valid[:, None], -math.inf)
    score = similar.amax(2)  # (B, P)
    return _largest(score if patches == "like" else -score, torch.ones_like(score, dtype=torch.bool), share)


def text_guided_reconstruction_loss(predicted: Tensor, wanted: Tensor, masked: Tensor, *, normalise: bool = False) -> Tensor:
    """Mean squared error on hidden patches, over patches and features alike (MAE, He et al. 2022, arXiv 2111.06377).

    SyCoCa asks for the pixels of hidden patches; whether by squared or absolute error could not be verified.

    Args:
        predicted: float (B, P, C).
        wanted: (B, P, C): pixels, or features of a frozen stem. Gets no gradient.
        masked: bool (B, P), where `wanted` was hidden.
        normalise: bring each patch of `wanted` to mean 0 and variance 1 first, which helped MAE.

    Returns:
        A scalar; 0 where nothing is hidden.
    """
    wanted = wanted.detach().to(predicted.dtype)
    if normalise:
        wanted = F.layer_norm(wanted, wanted.shape[-1:], eps=1e-6)
    errors = (predicted - wanted)[masked].square()  # (hidden, C)
    return errors.sum() / max(errors.numel(), 1)


class TextGuidedDecoder(nn.Module):
    """SyCoCa's image decoder: image tokens, with a learned one where a patch is hidden, read the text and predict each patch.

    The hidden tokens have lost their place, so places are added. How deep the paper's decoder is could not be verified.
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
            x = block(x, block.read_image(text), image_mask=valid[:, None, None])
        return self.predict(self.norm(x))  # (B, P, C)


def _largest(score: Tensor, allowed: Tensor, share: float) -> Tensor:
    """Bool (B, N): of each row's `allowed` places the `share` with the largest scores, rounded up."""
    if not 0 <= share <= 1:
        raise ValueError(f"The share to hide is out of range ({share}). Allowed: 0..1.")
    counts = (share * allowed.sum(1, keepdim=True).double() - 1e-6).ceil()  # (B, 1); 0.07 * 100 is a little above 7
    rank = score.masked_fill(~allowed, -math.inf).argsort(dim=1, descending=True, stable=True).argsort(1)
    return rank < counts
