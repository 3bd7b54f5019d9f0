"""Captions, word by word: greedy, by beam search, by sampling, or by contrastive search.

Each way takes a `Decoder` and gives token ids; what it costs to continue a sentence is the decoder's business.

Axes: B pictures, K beams or candidates, R rows, T text length, D width, V vocabulary.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from coca_model.decoding.cached_decoder import Decoder
from coca_model.tokenizer import SpecialTokens

NEVER = float("-inf")


@dataclass(frozen=True)
class CaptionOptions:
    """How a caption is chosen.

    `beam` keeps the `beams` likeliest beginnings and weighs whole sentences by log p / length ** `length_penalty` (Wu et al.
    2016, section 7); `greedy` takes the likeliest word. `sample` draws a word, with `temperature`, among the `top_k` likeliest
    (0: all) and among the fewest that together hold the probability `top_p` (Holtzman et al. 2020). `contrastive` takes, among
    the `top_k` likeliest (0: five), the word that is likely and unlike what was said, weighed by `degeneration_penalty` (Su et
    al. 2022, equation 5). `guidance` above 1 favours what only this picture explains (`cached_decoder.GuidedDecoder`);
    None is what suits the model (`encoder.Encoder.caption_options`).

    A caption has at least `min_tokens` words or pieces of words before its end, at most `max_tokens` (and no more than the
    model's context allows), no run of `no_repeat` of them twice, and none twice in a row (`no_repeat` 0: they may be repeated).
    """

    method: Literal["beam", "greedy", "sample", "contrastive"] = "beam"
    max_tokens: int = 24
    min_tokens: int = 0
    no_repeat: int = 3
    beams: int = 4
    length_penalty: float = 0.7
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    degeneration_penalty: float = 0.6
    guidance: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        methods = ("beam", "greedy", "sample", "contrastive")
        allowed = {
            "method": (self.method in methods, ", ".join(methods)),
            "max_tokens": (self.max_tokens >= 1, "1 or more"),
            "min_tokens": (0 <= self.min_tokens <= self.max_tokens, f"0 to max_tokens ({self.max_tokens})"),
            "no_repeat": (self.no_repeat >= 0, "0 or more"),
            "beams": (self.beams >= 1, "1 or more"),
            "length_penalty": (self.length_penalty >= 0, "0 or more"),
            "temperature": (self.temperature > 0, "above 0"),
            "top_k": (self.top_k >= 0, "0 (all) or more"),
            "top_p": (0 < self.top_p <= 1, "above 0, at most 1"),
            "degeneration_penalty": (0 <= self.degeneration_penalty <= 1, "0 to 1"),
            "guidance": (self.guidance is None or self.guidance > 0, "above 0 (1 is none)"),
        }
        for name, (fits, what) in allowed.items():
            if not fits:
                raise ValueError(f"{name} does not fit ({getattr(self, name)!r}). Allowed: {what}.")


@torch.inference_mode()
def generate(
    decoder: Decoder, batch: int, special: SpecialTokens, options: CaptionOptions, *, random: torch.Generator | None = None
) -> list[list[int]]:
    """One sentence for each of `batch` pictures: its token ids, without start, end and padding.

    `random` is what `sample` draws from, on the device of the decoder; by default a new one with the seed of the options.
    """
    random = random or torch.Generator().manual_seed(options.seed)
    start = torch.full((batch,), special.start, device=random.device)  # (B,)
    if not batch:
        return []
    if options.method == "beam":
        ids = _beam_search(decoder, start, special, options)  # (B, T)
    elif options.method == "contrastive":
        ids = _contrastive_search(decoder, start, special, options)
    else:
        ids = _one_by_one(decoder, start, special, options, random)
    return [_cut(row, special) for row in ids.tolist()]


def _one_by_one(decoder: Decoder, start: Tensor, special: SpecialTokens, options: CaptionOptions, random: torch.Generator) -> Tensor:
    """Greedy decoding and sampling: the next word of every sentence at once."""
    ids = start[:, None]  # (B, 1)
    ended = torch.zeros_like(start, dtype=torch.bool)
    for _ in range(options.max_tokens):
        logits = _allowed(decoder.step(ids[:, -1])[0], ids, special, options)  # (B, V)
        token = logits.argmax(1) if options.method == "greedy" else _draw(logits, options, random)
        ids = torch.cat([ids, token.masked_fill(ended, special.pad)[:, None]], dim=1)
        ended = ended | (token == special.end)
        if bool(ended.all()):
            break
    return ids


def _draw(logits: Tensor, options: CaptionOptions, random: torch.Generator) -> Tensor:
    """One token of each row of logits (R, V), drawn among the `top_k` likeliest and within the nucleus `top_p`."""
    most = min(options.top_k or logits.shape[1], logits.shape[1])
    likeliest, tokens = (logits / options.temperature).topk(most)  # (R, K), falling
    p = likeliest.softmax(1)
    p = p.masked_fill(p.cumsum(1) - p >= options.top_p, 0.0)  # what comes after enough probability is left out
    return tokens.gather(1, torch.multinomial(p, 1, generator=random))[:, 0]


def _contrastive_search(decoder: Decoder, start: Tensor, special: SpecialTokens, options: CaptionOptions) -> Tensor:
    """Su et al. 2022 (arXiv 2202.06417), equation 5: (1 - a) p(word) - a max cosine to the hidden states of what was said."""
    width, weight = options.top_k or 5, options.degeneration_penalty
    rows = torch.arange(len(start), device=start.device)
    ids = start[:, None]  # (B, 1)
    ended = torch.zeros_like(start, dtype=torch.bool)
    logits, hidden = decoder.step(start)
    said = F.normalize(hidden.float(), dim=-1)[:, None]  # (B, T, D)
    for _ in range(options.max_tokens):
        p, candidates = _allowed(logits, ids, special, options).softmax(1).topk(min(width, logits.shape[1]))  # (B, K)
        decoder.select(rows.repeat_interleave(candidates.shape[1]))
        logits, hidden = decoder.step(candidates.flatten())  # (B*K, V), (B*K, D)
        meant = F.normalize(hidden.float(), dim=-1).unflatten(0, candidates.shape)  # (B, K, D)
        likeness = (meant @ said.transpose(1, 2)).amax(2)  # (B, K)
        worth = ((1 - weight) * p - weight * likeness).masked_fill(p == 0, NEVER)
        best = worth.argmax(1)  # (B,)
        token = candidates[rows, best].masked_fill(ended, special.pad)
        ids, said = torch.cat([ids, token[:, None]], dim=1), torch.cat([said, meant[rows, best][:, None]], dim=1)
        ended = ended | (token == special.end)
        if bool(ended.all()):
            break
        chosen = rows * candidates.shape[1] + best
        decoder.select(chosen)
        logits = logits[chosen]
    return ids


def _beam_search(decoder: Decoder, start: Tensor, special: SpecialTokens, options: CaptionOptions) -> Tensor:
    """The best sentence of each picture. Sentences that end leave their beam to others, and stop the search of a picture when
    `beams` of them are better than what its best open beam is now.
    """
    batch, beams = len(start), options.beams
    first = torch.arange(batch, device=start.device)[:, None] * beams  # (B, 1), the first row of each picture
    ids = start.repeat_interleave(beams)[:, None]  # (B*K, 1)
    worth = torch.full((batch, beams), NEVER, device=start.device)
    worth[:, 0] = 0.0
    ended_ids, ended_worth = ids.unflatten(0, (batch, beams)), torch.full_like(worth, NEVER)  # (B, K, T), (B, K)
    done = torch.zeros(batch, dtype=torch.bool, device=start.device)
    for length in range(1, options.max_tokens + 1):
        logits = decoder.step(ids[:, -1])[0]  # (B*K, V)
        log_sum = logits.logsumexp(1, keepdim=True)  # before words are forbidden: the others do not get likelier by that
        logits = _allowed(logits, ids, special, options)
        worth, parent, token = _best_continuations(worth, logits, log_sum, 2 * beams)  # (B, 2K): at most half of them can end
        longer = torch.cat([ids[parent + first], token[..., None]], dim=2)  # (B, 2K, T+1)
        ends = token == special.end
        closed = (worth / length**options.length_penalty).masked_fill(~ends | done[:, None], NEVER)[:, :beams]
        ended_worth, place = torch.cat([ended_worth, closed], dim=1).topk(beams)  # (B, K)
        ended_ids = _take(torch.cat([F.pad(ended_ids, (0, 1), value=special.pad), longer[:, :beams]], dim=1), place)
        worth, place = worth.masked_fill(ends, NEVER).topk(beams)  # (B, K)
        ids = _take(longer, place).flatten(0, 1)  # (B*K, T+1)
        done = done | (ended_worth[:, -1] >= worth[:, 0] / length**options.length_penalty)
        if bool(done.all()):
            break
        decoder.select((parent.gather(1, place) + first).flatten())
    open_worth = (worth / length**options.length_penalty).masked_fill(done[:, None], NEVER)
    best = torch.cat([ended_worth, open_worth], dim=1).argmax(1, keepdim=True)  # (B, 1)
    return _take(torch.cat([ended_ids, ids.unflatten(0, (batch, beams))], dim=1), best)[:, 0]


def _best_continuations(worth: Tensor, logits: Tensor, log_sum: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `count` best of all beams and words: their worth, the beam and the word, each (B, count), falling.

    worth (B, K) of the beams, logits (B*K, V) that less `log_sum` (B*K, 1) are log p. Most words are dropped beam by beam,
    before anything is added or compared.
    """
    likeliest, words = logits.topk(min(count, logits.shape[1]))  # (B*K, C)
    total = (worth.flatten()[:, None] + likeliest - log_sum).reshape(len(worth), -1)  # (B, K*C)
    best, place = total.topk(min(count, total.shape[1]))
    return best, place // words.shape[1], words.reshape(len(worth), -1).gather(1, place)


def _take(rows: Tensor, place: Tensor) -> Tensor:
    """Rows (B, N, T), place int64 (B, K) -> (B, K, T)."""
    return rows.gather(1, place[..., None].expand(-1, -1, rows.shape[2]))


def _allowed(logits: Tensor, ids: Tensor, special: SpecialTokens, options: CaptionOptions) -> Tensor:
    """Logits (R, V) with what may not follow ids (R, T) made impossible: padding, a start, an early end, a repeated run.

    Where nothing is left, the sentence ends.
    """
    logits[:, [special.pad, special.start]] = NEVER
    length, run = ids.shape[1], options.no_repeat
    if length <= options.min_tokens:
        logits[:, special.end] = NEVER
    if run:
        logits.scatter_(1, ids[:, -1:], NEVER)
    if 0 < run < length:
        runs = ids.unfold(1, run, 1)  # (R, T-run+1, run)
        last = ids[:, length - run + 1 :]  # (R, run-1)
        row, place = (runs[..., :-1] == last[:, None]).all(2).nonzero(as_tuple=True)
        logits[row, runs[row, place, -1]] = NEVER
    logits[logits.amax(1) == NEVER, special.end] = 0.0
    return logits


def _cut(ids: list[int], special: SpecialTokens) -> list[int]:
    sentence = ids[1 : ids.index(special.end)] if special.end in ids else ids[1:]
    return [token for token in sentence if token != special.pad]
