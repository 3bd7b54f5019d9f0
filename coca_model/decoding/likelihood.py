"""log p(text | image) for every pair of a picture and a text (paper equation 3), which says how well they fit.

Axes: M pictures, N texts, T text length, D width, Q caption queries, V vocabulary.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coca_model.architecture.coca import CoCa
from coca_model.architecture.transformer import KeysValues

_MOST_LOGITS = 64 * 2**20  # of one part, as float32: 256 MiB
_PICTURES, _TEXTS = 32, 64  # at most in one part: the keys and values of a picture take megabytes


@torch.inference_mode()
def log_likelihood(model: CoCa, caption_tokens: Tensor | None, token_ids: Tensor, valid: Tensor) -> Tensor:
    """Sum over the text of log p(token | tokens before, image), natural logarithm; without the image where it is None.

    The unimodal decoder reads each text once, whatever the number of pictures; a picture is projected to keys and values once
    for all texts.

    Args:
        caption_tokens: (M, Q, D) or None. token_ids: int64 (N, T); valid: bool (N, T), False on padding.

    Returns:
        float32 (M, N), or (N,) without an image.
    """
    pictures = None if caption_tokens is None else len(caption_tokens)
    if not len(token_ids) or pictures == 0:
        return torch.zeros(len(token_ids) if pictures is None else (pictures, len(token_ids)), device=token_ids.device)
    texts = [(ids, ok, model.encode_text(ids, ok)[1]) for ids, ok in zip(token_ids.split(_TEXTS), valid.split(_TEXTS), strict=True)]
    if caption_tokens is None:
        return torch.cat([_log_p(model, tokens, None, ids, ok) for ids, ok, tokens in texts])
    most_words = max(int(ok.sum()) for _, ok, _ in texts)
    together = min(_PICTURES, max(1, _MOST_LOGITS // (most_words * model.config.text.vocabulary_size)))
    return torch.cat([_of_pictures(model, part, texts) for part in caption_tokens.split(together)])


def _of_pictures(model: CoCa, caption_tokens: Tensor, texts: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """A few pictures (M, Q, D) with all texts: float32 (M, N)."""
    pictures = len(caption_tokens)
    image = model.multimodal.image_keys_values(caption_tokens)
    columns = []
    for ids, valid, tokens in texts:
        rows = torch.arange(len(ids), device=ids.device).repeat(pictures)  # (M*N,), the texts of a picture side by side
        columns.append(_log_p(model, tokens[rows], image, ids[rows], valid[rows]).view(pictures, -1))
    return torch.cat(columns, dim=1)


def _log_p(model: CoCa, text_tokens: Tensor, image: list[KeysValues] | None, token_ids: Tensor, valid: Tensor) -> Tensor:
    """Text tokens (R, T, D) of the unimodal decoder -> float32 (R,)."""
    hidden = model.multimodal.extend(text_tokens, image)[0]
    return -next_token_losses(hidden, model.multimodal.output, token_ids, valid).sum(1)


def next_token_losses(hidden: Tensor, output: nn.Module, token_ids: Tensor, valid: Tensor) -> Tensor:
    """-log p of each next token (the terms of paper equation 3), natural logarithm.

    Args:
        hidden: (B, T, D), the decoder's last states; `output` brings them to logits (…, V), computed only where a word follows.
        token_ids: int64 (B, T); valid: bool (B, T), False on padding.

    Returns:
        float32 (B, T - 1): what token t + 1 costs, 0 on padding.
    """
    wanted = valid[:, 1:]
    costs = F.cross_entropy(output(hidden[:, :-1][wanted]).float(), token_ids[:, 1:][wanted], reduction="none")  # (words,)
    return torch.zeros_like(wanted, dtype=torch.float32).masked_scatter(wanted, costs)
