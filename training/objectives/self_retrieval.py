"""Captions that tell a picture from others: the decoder is rewarded if its caption finds its own picture in the batch.

Discriminative fine-tuning by REINFORCE (Dessi et al. 2023, "Cross-domain image captioning with discriminative finetuning", section 3).
There a frozen CLIP retrieves; here our own towers do, and their vectors get no gradient, so that they cannot make the task easy. The
baseline of a caption is the reward of the other captions of its picture (Kool et al. 2019, "Buy 4 REINFORCE samples, get a baseline
for free!"). It needs a captioning loss beside it, or the captions stop being sentences.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from coca_model.architecture.coca import CoCa
from coca_model.decoding.generate import CachedDecoder, generate
from coca_model.decoding.likelihood import next_token_losses
from coca_model.decoding.options import CaptionOptions
from coca_model.tokenizer import SpecialTokens
from training.batches import Batch
from training.objectives.contrastive import same_picture

SELF_RETRIEVAL = "self_retrieval"  # its name in recipes
DRAWN = 2  # captions for each picture
MOST_TOKENS = 20


def self_retrieval_costs(model: CoCa, batch: Batch, image: Tensor, caption_tokens: Tensor, special: SpecialTokens) -> Tensor:
    """The cost of each drawn caption, whose gradient is that of minus its expected reward.

    The reward is log p(own picture | caption) among the B pictures of the micro-batch: a log softmax over the cosines at the model's
    temperature, without other rows of the same picture. So a larger micro-batch makes the task harder.

    Args:
        batch: the R rows that the decoder learns to write get captions. The same `seeds` draw the same ones.
        image: (B, E), the vectors of all pictures, of any length.
        caption_tokens: (B, Q, D).
        special: the tokenizer's special tokens.

    Returns:
        float32 (R * DRAWN,). Only the multimodal decoder gets a gradient, with the token embeddings if its output shares them.
    """
    assert batch.texts is not None, "a batch without pictures has nothing to caption"
    own = batch.texts.decoded.nonzero()[:, 0].repeat_interleave(DRAWN)  # (R * DRAWN,), the row of each caption's picture
    if not len(own):
        return torch.zeros(0, device=image.device)
    caption_tokens = caption_tokens.detach()[batch.texts.decoded]
    seed = 0 if batch.seeds is None else int(batch.seeds[0])
    ids, valid = drawn_captions(model, caption_tokens, special, seed=seed)
    with torch.no_grad():
        text, text_tokens = model.unimodal(ids, valid)
        cosines = F.normalize(text.float(), dim=-1) @ F.normalize(image.detach().float(), dim=-1).T  # (R * DRAWN, B)
        picture = torch.arange(len(image), device=own.device) if batch.picture is None else batch.picture
        same = same_picture(picture)[own].scatter(1, own[:, None], False)  # another row of the same picture is no wrong answer
        logits = (model.log_scale.exp().float() * cosines).masked_fill(same, -torch.inf)
        reward = F.log_softmax(logits, dim=-1).gather(1, own[:, None]).view(-1, DRAWN)
        advantage = (reward - reward.sum(1, keepdim=True)).div(DRAWN - 1) + reward  # minus the mean reward of the others
    hidden = model.multimodal.hidden(text_tokens, caption_tokens.repeat_interleave(DRAWN, dim=0))
    return advantage.flatten() * next_token_losses(hidden, model.multimodal.output, ids, valid).sum(1)


def drawn_captions(model: CoCa, caption_tokens: Tensor, special: SpecialTokens, *, seed: int) -> tuple[Tensor, Tensor]:
    """`DRAWN` captions for each picture, drawn from the model: token ids int64 (R * DRAWN, T) and which are valid. Without gradients."""
    most = min(MOST_TOKENS, model.config.text.context_length - 1)
    options = CaptionOptions(method="sample", max_tokens=most, no_repeat=0)
    device = caption_tokens.device
    random = torch.Generator(device).manual_seed(seed)
    is_cast = torch.is_autocast_enabled(device.type)
    with torch.no_grad(), torch.autocast(device.type, enabled=is_cast, cache_enabled=False):  # no weight cast in here is used outside
        found = generate(CachedDecoder(model, caption_tokens), len(caption_tokens) * DRAWN, special, options, random=random)
    whole = [[special.start, *ids, *([special.end] if len(ids) < most else [])] for ids in found]
    lengths = torch.tensor([len(ids) for ids in whole], device=device)
    rows = [torch.tensor(ids, device=device) for ids in whole]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=special.pad)
    return padded, torch.arange(padded.shape[1], device=device) < lengths[:, None]
