"""The model in training: one forward pass of a CoCa over a batch, with everything that the objectives need.

All parameters are used inside `forward`, as DistributedDataParallel requires. Objectives of the whole batch get embeddings.
Objectives of rows are summed here.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coca_model.architecture.coca import CoCa
from coca_model.decoding.likelihood import next_token_losses
from training.batches.batch import Batch
from training.objectives.masked import MaskedObjectives
from training.prepare.corpus import Texts


class Student(nn.Module):
    """A CoCa in training.

    Args:
        frozen_units: of the image tower.
        fresh: whether batches hold pixels; otherwise they hold the output of the frozen units.
        decodes: which of "captioning" and "language" the phase has.
        masked: the masked objectives with their heads, if the phase has any.
    """

    def __init__(
        self, model: CoCa, *, frozen_units: int, fresh: bool, decodes: frozenset[str], masked: MaskedObjectives | None = None
    ) -> None:
        super().__init__()
        self.model, self.masked = model, masked
        self.frozen_units, self.fresh, self.decodes = frozen_units, fresh, decodes

    def forward(self, batch: Batch, *, decode: bool = True) -> dict[str, dict[str, Tensor]]:
        """Returns dictionaries, in which DistributedDataParallel finds the tensors with gradients.

        whole: float32 embeddings of L2 norm 1 by name (`image`, `text` (B, E), `sentence` (S, E)), and the scalar `scale`.
        sums: for each objective of rows the sum of its cost; counts: how many terms each sum has.
        Without `decode` the words that the decoder would learn to write are only counted.
        """
        whole, sums, counts = dict[str, Tensor](), dict[str, Tensor](), dict[str, Tensor]()

        def captioning(name: str, texts: Texts, text_tokens: Tensor, caption_tokens: Tensor | None) -> None:
            """The captioning loss (paper equation 3), summed over words."""
            rows = texts.decoded
            if name in self.decodes:
                counts[name] = texts.valid[rows][:, 1:].sum()
            if name in self.decodes and decode:
                hidden = self.model.multimodal.hidden(text_tokens[rows], None if caption_tokens is None else caption_tokens[rows])
                losses = next_token_losses(hidden, self.model.multimodal.output, texts.token_ids[rows], texts.valid[rows])
                sums[name] = losses.sum()

        if batch.texts is not None and batch.pictures is not None:
            image_tokens = self._image_tokens(batch.pictures, batch.patches)
            whole["image"], caption_tokens = self.model.poolers(image_tokens)
            whole["text"], text_tokens = self.model.encode_text(batch.texts.token_ids, batch.texts.valid)
            captioning("captioning", batch.texts, text_tokens, caption_tokens)
            if self.masked is not None:
                costs = self.masked(self.model, batch, (whole["image"], image_tokens), (whole["text"], text_tokens))
                for name, cost in costs.items():
                    sums[name], counts[name] = cost
        if batch.sentences is not None:
            whole["sentence"], sentence_tokens = self.model.encode_text(batch.sentences.token_ids, batch.sentences.valid)
            captioning("language", batch.sentences, sentence_tokens, None)
        unit = {name: F.normalize(value.float(), dim=-1) for name, value in whole.items()}
        return {"whole": unit | {"scale": self.model.log_scale.exp()}, "sums": sums, "counts": counts}

    def _image_tokens(self, pictures: Tensor, patches: Tensor | None) -> Tensor:
        tower = self.model.image_tower
        if self.fresh:
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.frozen_units == 0):
                pictures = tower.begin(pictures, self.frozen_units)
        return tower.finish(pictures, self.frozen_units, patches)  # (B, P', D)
