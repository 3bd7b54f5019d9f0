"""log p(text | image) for every pair of a picture and a text (paper equation 3): a measure of how well they fit.

Axes: M pictures, N texts, T text length, D width, Q caption queries, V vocabulary.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coca_model.architecture.coca import CoCa

_MAX_LOGITS = 64 * 2**20  # at once, as float32: 256 MiB
_MAX_PICTURES, _MAX_TEXTS = 32, 64  # at once: the keys and values of a picture take megabytes


@torch.inference_mode()
def log_likelihood(model: CoCa, caption_tokens: Tensor | None, token_ids: Tensor, valid: Tensor) -> Tensor:
    """Sum over the text of log p(token | tokens before, image), natural logarithm. Without caption tokens: log p(text).

    The unimodal decoder runs once for each text, and a picture is projected to keys and values once, for any number of pairs.

    Args:
        caption_tokens: (M, Q, D) or None. token_ids: int64 (N, T); valid: bool (N, T), False on padding.

    Returns:
        float32 (M, N), or (N,) without caption tokens.
    """
    shape = (len(token_ids),) if caption_tokens is None else (len(caption_tokens), len(token_ids))
    if 0 in shape:
        return torch.zeros(shape, device=token_ids.device)
    batches = list(zip(token_ids.split(_MAX_TEXTS), valid.split(_MAX_TEXTS), strict=True))
    texts = [(ids, part_valid, model.unimodal(ids, part_valid)[1]) for ids, part_valid in batches]
    most_words = max(int(part_valid.sum()) for _, part_valid in batches)
    together = min(_MAX_PICTURES, max(1, _MAX_LOGITS // (most_words * model.config.text.vocabulary_size)))
    scores = []
    for part in [None] if caption_tokens is None else caption_tokens.split(together):
        pictures, image = (1, None) if part is None else (len(part), model.multimodal.image_keys_values(part))
        columns = []
        for ids, part_valid, tokens in texts:
            rows = torch.arange(len(ids), device=ids.device).repeat(pictures)  # (M*N,), the texts of one picture are consecutive
            hidden = model.multimodal.extend(tokens[rows], image)[0]  # (M*N, T, D)
            losses = next_token_losses(hidden, model.multimodal.output, ids[rows], part_valid[rows])
            columns.append(-losses.sum(1).view(pictures, -1))
        scores.append(torch.cat(columns, dim=1))  # (M, N), or (1, N) without pictures
    return torch.cat(scores).view(shape)


def next_token_losses(hidden: Tensor, output: nn.Module, token_ids: Tensor, valid: Tensor) -> Tensor:
    """-log p of each next token (the terms of paper equation 3), natural logarithm.

    Args:
        hidden: (B, T, D), the last states of the decoder. `output` maps them to logits (..., V), only where a word follows.
        token_ids: int64 (B, T); valid: bool (B, T), False on padding.

    Returns:
        float32 (B, T - 1): the loss of token t + 1, 0 on padding.
    """
    predicted = valid[:, 1:]
    losses = F.cross_entropy(output(hidden[:, :-1][predicted]).float(), token_ids[:, 1:][predicted], reduction="none")  # (words,)
    return torch.zeros_like(predicted, dtype=torch.float32).masked_scatter(predicted, losses)
