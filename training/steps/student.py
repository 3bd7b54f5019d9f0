"""The model in training: one forward pass of a CoCa over a batch, with everything that the objectives need.

All parameters are used inside `forward`, as DistributedDataParallel requires. Objectives of the whole batch get embeddings.
Objectives of rows are summed here.

The momentum model follows the student slowly and embeds every batch. A queue for each modality keeps its last embeddings, which are
COTS's negatives (see `objectives/contrastive.py`).
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import get_ema_multi_avg_fn

from coca_model.architecture.coca import CoCa
from coca_model.decoding.likelihood import next_token_losses
from coca_model.tokenizer import SpecialTokens
from training.batches import Batch
from training.objectives.contrastive import hard_negative_costs
from training.objectives.heads import Heads
from training.objectives.masked import MaskedObjectives
from training.objectives.self_retrieval import DRAWN, SELF_RETRIEVAL, self_retrieval_costs
from training.prepare.corpus import Texts
from training.prepare.false_texts import HARD_NEGATIVES
from training.ranks import Ranks

MOMENTUM = 0.99
QUEUE = 4096  # rows of each modality: a few batches, because the momentum model changes


class Student(nn.Module):
    """A CoCa in training. Batches hold pixels if `fresh`, otherwise the output of the image tower's frozen units.

    `objectives` has the names of the phase's objectives, `masked` its masked ones with their heads, and `heads` those of its objectives
    of the whole batch. Self-retrieval needs the tokenizer's `special` tokens.
    """

    def __init__(
        self,
        model: CoCa,
        *,
        frozen_units: int,
        fresh: bool,
        objectives: frozenset[str],
        masked: MaskedObjectives | None = None,
        heads: Heads | None = None,
        special: SpecialTokens | None = None,
    ) -> None:
        super().__init__()
        self.model, self.masked, self.heads, self.special = model, masked, heads, special
        self.frozen_units, self.fresh, self.objectives = frozen_units, fresh, objectives

    def forward(self, batch: Batch, *, decode: bool = True) -> dict[str, dict[str, Tensor]]:
        """Returns dictionaries, in which DistributedDataParallel finds the tensors with gradients.

        whole: float32 embeddings of L2 norm 1 by name (`image`, `text` (B, E), `sentence` (S, E)), the scalar `scale`, and the
            output of the heads.
        sums: for each objective of rows the sum of its cost; counts: how many terms each sum has.
        Without `decode` the words that the decoder would learn to write are only counted.
        """
        whole, sums, counts = dict[str, Tensor](), dict[str, Tensor](), dict[str, Tensor]()

        def captioning(name: str, texts: Texts, text_tokens: Tensor, caption_tokens: Tensor | None) -> None:
            """The captioning loss (paper equation 3), summed over words."""
            rows = texts.decoded
            if name in self.objectives:
                counts[name] = texts.valid[rows][:, 1:].sum()
            if name in self.objectives and decode:
                hidden = self.model.multimodal.hidden(text_tokens[rows], None if caption_tokens is None else caption_tokens[rows])
                losses = next_token_losses(hidden, self.model.multimodal.output, texts.token_ids[rows], texts.valid[rows])
                sums[name] = losses.sum()

        if batch.texts is not None and batch.pictures is not None:
            image_tokens = self._image_tokens(batch.pictures, batch.patches)
            whole["image"], caption_tokens = self.model.poolers(image_tokens)
            whole["text"], text_tokens = self.model.unimodal(batch.texts.token_ids, batch.texts.valid)
            captioning("captioning", batch.texts, text_tokens, caption_tokens)
            if SELF_RETRIEVAL in self.objectives and self.special is not None:
                counts[SELF_RETRIEVAL] = batch.texts.decoded.sum() * DRAWN
                if decode:
                    sums[SELF_RETRIEVAL] = self_retrieval_costs(self.model, batch, whole["image"], caption_tokens, self.special).sum()
            if HARD_NEGATIVES in self.objectives and batch.false_texts is not None:
                counts[HARD_NEGATIVES] = batch.false_texts.valid.any(1).sum()
                if decode:
                    sums[HARD_NEGATIVES] = self._hard_negatives(batch.false_texts, whole["image"], whole["text"])
            if self.masked is not None:
                found = self.masked(self.model, batch, (whole["image"], image_tokens), (whole["text"], text_tokens))
                for name, cost in found.items():
                    sums[name], counts[name] = cost
        if batch.sentences is not None:
            whole["sentence"], sentence_tokens = self.model.unimodal(batch.sentences.token_ids, batch.sentences.valid)
            captioning("language", batch.sentences, sentence_tokens, None)
        unit = {name: F.normalize(value.float(), dim=-1) for name, value in whole.items()}
        unit |= {} if self.heads is None else self.heads(batch.texts)
        return {"whole": unit | {"scale": self.model.log_scale.exp()}, "sums": sums, "counts": counts}

    def _hard_negatives(self, false_texts: Texts, image: Tensor, text: Tensor) -> Tensor:
        rows = false_texts.valid.any(1)
        if not rows.any():
            return image.new_zeros(())
        false, _ = self.model.unimodal(false_texts.token_ids[rows], false_texts.valid[rows])
        image, text, false = (F.normalize(one.float(), dim=-1) for one in (image[rows], text[rows], false))
        return hard_negative_costs(image, text, false, self.model.log_scale.detach().exp()).sum()

    def _image_tokens(self, pictures: Tensor, patches: Tensor | None) -> Tensor:
        tower = self.model.image_tower
        if self.fresh:
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.frozen_units == 0):
                pictures = tower.begin(pictures, self.frozen_units)
        return tower.finish(pictures, self.frozen_units, patches)  # (B, P', D)


class EmbeddingQueue(nn.Module):
    """The last `length` embeddings, as buffers, so that they move with the module and are in its state dict.

    Two queues that are always pushed together hold a picture and its text at the same index, which `kl_alignment_loss` needs.
    Under DistributedDataParallel push the rows of all processes, the same in each.
    """

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.rows: Tensor
        self.pushed: Tensor
        self.register_buffer("rows", torch.zeros(length, width))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))  # in total; also gives the next index

    def __len__(self) -> int:
        return min(int(self.pushed), len(self.rows))

    def forward(self) -> Tensor:
        """(K, E), each row of L2 norm 1; K grows to `length`. A copy, so that a push before `backward` does not change it."""
        return self.rows[: len(self)].clone()

    @torch.no_grad()
    def push(self, rows: Tensor) -> None:
        """Normalise rows (B, E) and overwrite the oldest. Of more than `length` rows the last stay."""
        length, start = len(self.rows), int(self.pushed) + max(len(rows) - len(self.rows), 0)
        newest = F.normalize(rows[-length:].to(self.rows.dtype), dim=-1)  # (min(B, length), E)
        self.rows[(start + torch.arange(len(newest), device=self.rows.device)) % length] = newest
        self.pushed += len(rows)


class Momentum(nn.Module):
    """The momentum copy of a student (MoCo, He et al. 2020, equation 2), with a queue of pictures and one of texts."""

    def __init__(self, student: Student, *, momentum: float = MOMENTUM, length: int = QUEUE) -> None:
        super().__init__()
        model = copy.deepcopy(student.model).requires_grad_(False)
        self.student = Student(model, frozen_units=student.frozen_units, fresh=student.fresh, objectives=frozenset())
        self.images = EmbeddingQueue(length, model.config.embedding_width)
        self.texts = EmbeddingQueue(length, model.config.embedding_width)
        self._average = get_ema_multi_avg_fn(momentum)

    def follow(self, student: Student) -> None:
        """Move a little towards the student."""
        self._average(list(self.student.model.parameters()), list(student.model.parameters()), 0)

    @torch.no_grad()
    def forward(self, parts: Sequence[Batch], ranks: Ranks) -> dict[str, Tensor]:
        """The keys of this batch, of all ranks, and those in the queues, by name in `WholeBatch`. Then queues the keys of this batch."""
        seen = [self.student(part)["whole"] for part in parts]
        image, text = (ranks.gather(torch.cat([one[name] for one in seen])) for name in ("image", "text"))
        found = {"image_key": image, "text_key": text, "image_queue": self.images(), "text_queue": self.texts()}
        self.images.push(image)
        self.texts.push(text)
        return found
