"""Captions by beam search over the two decoders.

Axes: B batch, K beams, T text length, D width, Q caption queries, V vocabulary.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from coca_model.coca import CoCa
from coca_model.tokenizer import Tokenizer

NEVER = float("-inf")


@torch.inference_mode()
def beam_search(
    model: CoCa,
    caption_tokens: Tensor,
    tokenizer: Tokenizer,
    *,
    beams: int = 4,
    max_tokens: int = 24,
    length_penalty: float = 0.7,
    no_repeat: int = 3,
) -> list[str]:
    """One caption for each row of caption tokens (B, Q, D).

    A beam is worth its log-probability over length ** `length_penalty` (Wu et al. 2016, section 7); with `beams=1` this is
    greedy decoding. No token follows itself, and no run of `no_repeat` tokens comes twice (0: any run may).
    """
    batch, device = len(caption_tokens), caption_tokens.device
    images = caption_tokens.repeat_interleave(beams, dim=0)  # (B*K, Q, D)
    ids = torch.full((batch * beams, 1), tokenizer.start_id, device=device)
    worth = torch.full((batch, beams), NEVER, device=device)
    worth[:, 0] = 0.0
    ended = torch.zeros(batch * beams, dtype=torch.bool, device=device)
    for _ in range(min(max_tokens, model.config.text.context_length - 1)):
        step = _next_log_probabilities(model, ids, images, ended, tokenizer)  # (B*K, V)
        _forbid_repeats(step, ids, ended, no_repeat)
        total = worth[:, :, None] + step.unflatten(0, (batch, beams))  # (B, K, V)
        worth, flat = total.flatten(1).topk(beams)  # (B, K)
        parent = (flat // step.shape[1] + torch.arange(batch, device=device)[:, None] * beams).flatten()
        token = (flat % step.shape[1]).flatten()
        ids = torch.cat([ids[parent], token[:, None]], dim=1)  # (B*K, T+1)
        ended = ended[parent] | (token == tokenizer.end_id)
        if bool(ended.all()):
            break
    length = (ids != tokenizer.pad_id).sum(1).unflatten(0, (batch, beams))
    best = (worth / length**length_penalty).argmax(1) + torch.arange(batch, device=device) * beams
    return [tokenizer.decode(row) for row in ids[best].tolist()]


def _next_log_probabilities(model: CoCa, ids: Tensor, images: Tensor, ended: Tensor, tokenizer: Tokenizer) -> Tensor:
    _, text_tokens = model.encode_text(ids, torch.ones_like(ids, dtype=torch.bool))
    hidden = model.multimodal.hidden(text_tokens, images)[:, -1]  # (B*K, D)
    step = F.log_softmax(model.multimodal.output(hidden).float(), dim=-1)
    step[:, [tokenizer.pad_id, tokenizer.start_id]] = NEVER
    step.scatter_(1, ids[:, -1:], NEVER)
    step[ended] = NEVER
    step[ended, tokenizer.pad_id] = 0.0
    return step


def _forbid_repeats(step: Tensor, ids: Tensor, ended: Tensor, length: int) -> None:
    """Make every token impossible that would end a run of `length` tokens that the sentence holds already."""
    if length < 1:
        return
    for row, (sentence, over) in enumerate(zip(ids.tolist(), ended.tolist(), strict=True)):
        last = sentence[len(sentence) - length + 1 :]
        starts = range(len(sentence) - length + 1)
        banned = [] if over else [sentence[i + length - 1] for i in starts if sentence[i : i + length - 1] == last]
        step[row, banned] = NEVER


@torch.inference_mode()
def log_likelihood(model: CoCa, caption_tokens: Tensor | None, token_ids: Tensor, valid: Tensor) -> Tensor:
    """Sum over the sentence of log p(token | tokens before, image) (paper equation 3), without the image where it is None.

    Args:
        caption_tokens: (M, Q, D) or None. token_ids: int64 (N, T); valid: bool (N, T).

    Returns:
        float32 (M, N), or (N,) without an image.
    """
    _, text_tokens = model.encode_text(token_ids, valid)  # (N, T, D), the same for every image
    if caption_tokens is None:
        return _sum_log_p(model.caption_logits(text_tokens, None), token_ids, valid)
    rows = [
        _sum_log_p(model.caption_logits(text_tokens, image.expand(len(token_ids), -1, -1)), token_ids, valid)
        for image in caption_tokens.unsqueeze(1)
    ]
    return torch.stack(rows) if rows else torch.zeros(0, len(token_ids))


def _sum_log_p(logits: Tensor, token_ids: Tensor, valid: Tensor) -> Tensor:
    log_p = F.log_softmax(logits[:, :-1].float(), dim=-1).gather(2, token_ids[:, 1:, None])[..., 0]  # (N, T-1)
    return (log_p * valid[:, 1:]).sum(1)
