"""The model that learns: one forward pass of a CoCa over a batch, with everything that the objectives ask of it.

All use of the parameters happens inside `forward`, as DistributedDataParallel wants it. What objectives compare across the
whole batch leaves as embeddings; what concerns each row alone is summed here.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coca_model.coca import CoCa
from coca_model.likelihood import next_token_losses
from training.batches.batch import Batch, Texts
from training.objectives.masked_heads import HiddenParts


class Student(nn.Module):
    """A CoCa in training.

    Args:
        frozen_units: of the image tower; the batch holds what they gave, or pixels where `fresh`.
        decodes: which of "captioning" and "language" are asked for.
        hidden: the objectives that hide parts of a row, with their heads.
    """

    def __init__(self, model: CoCa, *, frozen_units: int, fresh: bool, decodes: frozenset[str], hidden: HiddenParts | None = None) -> None:
        super().__init__()
        self.model, self.hidden = model, hidden
        self.frozen_units, self.fresh, self.decodes = frozen_units, fresh, decodes

    def forward(self, batch: Batch, *, decode: bool = True) -> dict[str, dict[str, Tensor]]:
        """Returns dictionaries, which DistributedDataParallel looks through for what has gradients. Without `decode` the words are
        only counted.

        whole: embeddings of L2 norm 1, float32, by name (`image`, `text` (B, E), `sentence` (S, E)), and the scalar `scale`.
        sums: for each objective of rows its cost summed over them; counts: how many terms each sum has.
        """
        whole: dict[str, Tensor] = {}
        sums: dict[str, Tensor] = {}
        counts: dict[str, Tensor] = {}
        if batch.texts is not None and batch.pictures is not None:
            image_tokens = self._image_tokens(batch.pictures, batch.patches)
            image, caption_tokens = self.model.poolers(image_tokens)
            text, text_tokens = self.model.encode_text(batch.texts.token_ids, batch.texts.valid)
            whole |= {"image": image, "text": text}
            if "captioning" in self.decodes:
                counts["captioning"] = _words(batch.texts)
                if decode:
                    sums["captioning"] = self._decode(batch.texts, text_tokens, caption_tokens)
            if self.hidden is not None:
                for name, cost in self.hidden(self.model, batch, (image, image_tokens), (text, text_tokens)).items():
                    sums[name], counts[name] = cost
        if batch.sentences is not None:
            sentence, sentence_tokens = self.model.encode_text(batch.sentences.token_ids, batch.sentences.valid)
            whole["sentence"] = sentence
            if "language" in self.decodes:
                counts["language"] = _words(batch.sentences)
                if decode:
                    sums["language"] = self._decode(batch.sentences, sentence_tokens, None)
        unit = {name: F.normalize(value.float(), dim=-1) for name, value in whole.items()}
        return {"whole": unit | {"scale": self.model.log_scale.exp()}, "sums": sums, "counts": counts}

    def _image_tokens(self, pictures: Tensor, patches: Tensor | None) -> Tensor:
        tower = self.model.image_tower
        if self.fresh:
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.frozen_units == 0):
                pictures = tower.begin(pictures, self.frozen_units)
        return tower.finish(pictures, self.frozen_units, patches)  # (B, P', D)

    def _decode(self, texts: Texts, text_tokens: Tensor, caption_tokens: Tensor | None) -> Tensor:
        """The captioning loss (paper equation 3), summed over words."""
        own = texts.decoded
        hidden = self.model.multimodal.hidden(text_tokens[own], None if caption_tokens is None else caption_tokens[own])
        return next_token_losses(hidden, self.model.multimodal.output, texts.token_ids[own], texts.valid[own]).sum()


def _words(texts: Texts) -> Tensor:
    """How many words the decoder learns to write."""
    return texts.valid[texts.decoded][:, 1:].sum()
