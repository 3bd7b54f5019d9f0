"""Generate captions: greedy decoding, sampling, beam search and contrastive search, with a KV cache.

With the cache, the cost of a token does not grow with the length of the sentence. It holds the keys and values of both decoders'
self-attention, and those of the picture, which all its sentences share. The search methods use only `step` and `select` of a `Decoder`.

Axes: B pictures, G sentences for each, R = B * G rows, K beams or candidates, T text length, D width, Q caption queries, V vocabulary.
"""

from itertools import takewhile

import torch
from torch import Tensor
from torch.nn import functional as F

from coca_model.architecture.coca import CoCa
from coca_model.architecture.text_decoders import Past
from coca_model.decoding.options import CaptionOptions
from coca_model.tokenizer import SpecialTokens

NEVER = float("-inf")


class CachedDecoder:
    """Continues R sentences about B pictures, one token at a time. Without caption tokens (B, Q, D) it ignores pictures.

    The first step sets the number of sentences for each picture.
    """

    def __init__(self, model: CoCa, caption_tokens: Tensor | None) -> None:
        self._model = model
        self._image = None if caption_tokens is None else model.multimodal.image_keys_values(caption_tokens)
        self._unimodal: Past | None = None
        self._multimodal: Past | None = None

    def step(self, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Append token_ids int64 (R,) -> float32 logits (R, V) of the next token, hidden states (R, D) of the appended one.

        In the first step R must be a multiple of B.
        """
        text_tokens, self._unimodal = self._model.unimodal.extend(token_ids[:, None], self._unimodal)
        hidden, self._multimodal = self._model.multimodal.extend(text_tokens, self._image, self._multimodal)
        hidden = hidden[:, -1]  # (R, D)
        return self._model.multimodal.output(hidden).float(), hidden

    def select(self, rows: Tensor) -> None:
        """Continue with the sentences `rows` int64 (R',). A row may be repeated or left out; keep those of a picture together."""
        self._unimodal = self._unimodal and [block[:, rows] for block in self._unimodal]
        self._multimodal = self._multimodal and [block[:, rows] for block in self._multimodal]


class GuidedDecoder:
    """Classifier-free guidance (Kornblith et al. 2023, arXiv 2307.16686, section 3): p(word) (p(word | image) / p(word))^weight.

    A weight of 1 means no guidance. A larger weight gives captions that are more specific to the picture. Each step runs both
    decoders.
    """

    def __init__(self, conditional: CachedDecoder, unconditional: CachedDecoder, *, weight: float) -> None:
        self._conditional, self._unconditional, self._weight = conditional, unconditional, weight

    def step(self, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        """As `CachedDecoder.step`. The hidden states are those of the conditional decoder."""
        logits, hidden = self._conditional.step(token_ids)
        unconditional = F.log_softmax(self._unconditional.step(token_ids)[0], dim=-1)
        return torch.lerp(unconditional, F.log_softmax(logits, dim=-1), self._weight), hidden

    def select(self, rows: Tensor) -> None:
        """As `CachedDecoder.select`."""
        self._conditional.select(rows)
        self._unconditional.select(rows)


Decoder = CachedDecoder | GuidedDecoder


@torch.inference_mode()
def generate(
    decoder: Decoder, batch: int, special: SpecialTokens, options: CaptionOptions, *, random: torch.Generator | None = None
) -> list[list[int]]:
    """One sentence for each of `batch` pictures: its token ids, without start, end and padding.

    `sample` draws from `random`, which must be on the device of the decoder. The default is a new generator with the options' seed.
    """
    if not batch:
        return []
    random = random or torch.Generator().manual_seed(options.seed)
    start = torch.full((batch,), special.start, device=random.device)  # (B,)
    if options.method == "beam":
        ids = _beam_search(decoder, start, special, options)  # (B, T)
    elif options.method == "contrastive":
        ids = _contrastive_search(decoder, start, special, options)
    else:
        ids = _greedy_or_sample(decoder, start, special, options, random)
    sentences = [takewhile(lambda token: token != special.end, row[1:]) for row in ids.tolist()]
    return [[token for token in sentence if token != special.pad] for sentence in sentences]


def _greedy_or_sample(decoder: Decoder, start: Tensor, special: SpecialTokens, options: CaptionOptions, random: torch.Generator) -> Tensor:
    ids = start[:, None]  # (B, 1)
    ended = torch.zeros_like(start, dtype=torch.bool)
    for _ in range(options.max_tokens):
        logits = _mask_forbidden(decoder.step(ids[:, -1])[0], ids, special, options)  # (B, V)
        token = logits.argmax(1) if options.method == "greedy" else _draw(logits, options, random)
        ids = torch.cat([ids, token.masked_fill(ended, special.pad)[:, None]], dim=1)
        ended = ended | (token == special.end)
        if bool(ended.all()):
            break
    return ids


def _draw(logits: Tensor, options: CaptionOptions, random: torch.Generator) -> Tensor:
    """Draw one token for each row of logits (R, V), from the `top_k` likeliest within the nucleus `top_p`."""
    count = min(options.top_k or logits.shape[1], logits.shape[1])
    likeliest, tokens = (logits / options.temperature).topk(count)  # (R, K), descending
    p = likeliest.softmax(1)
    p = p.masked_fill(p.cumsum(1) - p >= options.top_p, 0.0)  # drop tokens outside the nucleus
    return tokens.gather(1, torch.multinomial(p, 1, generator=random))[:, 0]


def _contrastive_search(decoder: Decoder, start: Tensor, special: SpecialTokens, options: CaptionOptions) -> Tensor:
    """Su et al. 2022 (arXiv 2202.06417), equation 5: (1 - a) p(token) - a max cosine to the hidden states so far."""
    penalty = options.degeneration_penalty
    rows = torch.arange(len(start), device=start.device)
    ids = start[:, None]  # (B, 1)
    ended = torch.zeros_like(start, dtype=torch.bool)
    logits, hidden = decoder.step(start)
    states = F.normalize(hidden.float(), dim=-1)[:, None]  # (B, T, D)
    for _ in range(options.max_tokens):
        p = _mask_forbidden(logits, ids, special, options).softmax(1)  # (B, V)
        p, candidates = p.topk(min(options.top_k or 5, logits.shape[1]))  # (B, K)
        decoder.select(rows.repeat_interleave(candidates.shape[1]))
        logits, hidden = decoder.step(candidates.flatten())  # (B*K, V), (B*K, D)
        new = F.normalize(hidden.float(), dim=-1).unflatten(0, candidates.shape)  # (B, K, D)
        similarity = (new @ states.transpose(1, 2)).amax(2)  # (B, K)
        best = ((1 - penalty) * p - penalty * similarity).masked_fill(p == 0, NEVER).argmax(1)  # (B,)
        token = candidates[rows, best].masked_fill(ended, special.pad)
        ids, states = torch.cat([ids, token[:, None]], dim=1), torch.cat([states, new[rows, best][:, None]], dim=1)
        ended = ended | (token == special.end)
        if bool(ended.all()):
            break
        chosen = rows * candidates.shape[1] + best
        decoder.select(chosen)
        logits = logits[chosen]
    return ids


def _beam_search(decoder: Decoder, start: Tensor, special: SpecialTokens, options: CaptionOptions) -> Tensor:
    """Beam search. A finished sentence frees its beam. A picture is done when `beams` finished sentences beat its best open beam."""
    batch, beams = len(start), options.beams
    first = torch.arange(batch, device=start.device)[:, None] * beams  # (B, 1), the first row of each picture
    ids = start.repeat_interleave(beams)[:, None]  # (B*K, 1)
    score = torch.full((batch, beams), NEVER, device=start.device)
    score[:, 0] = 0.0
    ended_ids, ended_score = ids.unflatten(0, (batch, beams)), torch.full_like(score, NEVER)  # (B, K, T), (B, K)
    done = torch.zeros(batch, dtype=torch.bool, device=start.device)
    for length in range(1, options.max_tokens + 1):
        penalty = length**options.length_penalty
        logits = decoder.step(ids[:, -1])[0]  # (B*K, V)
        log_sum = logits.logsumexp(1, keepdim=True)  # before masking: forbidden tokens do not make the others likelier
        logits = _mask_forbidden(logits, ids, special, options)
        score, parent, token = _best_continuations(score, logits, log_sum, 2 * beams)  # (B, 2K): at most K of them end, so K continue
        longer = torch.cat([ids[parent + first], token[..., None]], dim=2)  # (B, 2K, T+1)
        ends = token == special.end
        newly_ended = (score / penalty).masked_fill(~ends | done[:, None], NEVER)[:, :beams]
        ended_score, index = torch.cat([ended_score, newly_ended], dim=1).topk(beams)  # (B, K)
        ended_ids = _take(torch.cat([F.pad(ended_ids, (0, 1), value=special.pad), longer[:, :beams]], dim=1), index)
        score, index = score.masked_fill(ends, NEVER).topk(beams)  # (B, K)
        ids = _take(longer, index).flatten(0, 1)  # (B*K, T+1)
        done = done | (ended_score[:, -1] >= score[:, 0] / penalty)
        if bool(done.all()):
            break
        decoder.select((parent.gather(1, index) + first).flatten())
    open_score = (score / penalty).masked_fill(done[:, None], NEVER)
    best = torch.cat([ended_score, open_score], dim=1).argmax(1, keepdim=True)  # (B, 1)
    return _take(torch.cat([ended_ids, ids.unflatten(0, (batch, beams))], dim=1), best)[:, 0]


def _best_continuations(score: Tensor, logits: Tensor, log_sum: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `count` best continuations over all beams and tokens: score, beam, token, each (B, count), descending.

    Takes the score (B, K) of the beams. log p is logits (B*K, V) minus `log_sum` (B*K, 1). Most tokens are dropped for each beam
    before any addition.
    """
    likeliest, tokens = logits.topk(min(count, logits.shape[1]))  # (B*K, C)
    total = (score.flatten()[:, None] + likeliest - log_sum).reshape(len(score), -1)  # (B, K*C)
    best, index = total.topk(min(count, total.shape[1]))
    return best, index // tokens.shape[1], tokens.reshape(len(score), -1).gather(1, index)


def _take(rows: Tensor, index: Tensor) -> Tensor:
    """Rows (B, N, T), index int64 (B, K) -> (B, K, T)."""
    return rows.gather(1, index[..., None].expand(-1, -1, rows.shape[2]))


def _mask_forbidden(logits: Tensor, ids: Tensor, special: SpecialTokens, options: CaptionOptions) -> Tensor:
    """Set logits (R, V) of tokens that may not follow ids (R, T) to -inf: padding, start, an early end, a repeated run.

    If nothing remains, the sentence ends.
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
        row, start = (runs[..., :-1] == last[:, None]).all(2).nonzero(as_tuple=True)
        logits[row, runs[row, start, -1]] = NEVER
    logits[logits.amax(1) == NEVER, special.end] = 0.0
    return logits
