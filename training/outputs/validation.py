"""Validation: how well held-out pictures and their texts find each other, ranked as in `coca-search eval retrieval`.

Among few pictures, each is found easily. So training pictures are added until there are `_CANDIDATES`. The best weights are those
with the lowest log loss, which still changes when ranks do not.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from coca_model.architecture.coca import CoCa
from coca_model.machine import batch_size
from evaluation.measures.ranking import KS, marked, ranks_of_right, recall_curve, similarities
from training.cache.views import PLAIN, view_or_reason
from training.examples.example import Skipped
from training.prepare.materials import Materials
from training.steps.gradients import Precision

LOG_LOSS = "log loss"
_TEXTS = 256
_CANDIDATES = 200
_SCALES = torch.logspace(0, 2, 25)  # 1 / temperature, up to the limit of training


class Validation:
    """Measures a model on the held-out pictures that have texts and can be read.

    If they are few, training pictures are added as distractors, evenly spaced in the order of the examples. A text is correct for
    each picture that has it. `count` is the number of held-out pictures, 0 if there are fewer than two; `candidates` is the number
    of pictures that they are searched among; `skipped` has the pictures that cannot be read.
    """

    def __init__(self, materials: Materials, device: torch.device) -> None:
        self._materials, self._device = materials, device
        config, features, of_example = materials.model.config.image, materials.features, materials.corpus.of_example
        split = {number: example.split for number, example in enumerate(materials.examples) if of_example[number]}
        held_out, trained = ([number for number, of in split.items() if of == wanted] for wanted in ("val", "train"))
        beside = np.linspace(0, len(trained) - 1, min(len(trained), max(0, _CANDIDATES - len(held_out)))).astype(np.int64)
        numbers = held_out + [trained[index] for index in beside]
        seen: dict[int, NDArray[np.uint8] | str] = {}
        if features is None:
            seen = {number: view_or_reason(materials.examples[number], PLAIN, config, seed=()) for number in numbers}
        self.skipped = [Skipped(materials.examples[number].name, one) for number, one in seen.items() if isinstance(one, str)]
        unreadable = {number for number, one in seen.items() if isinstance(one, str)} | (features.unreadable if features else set())
        numbers = [number for number in numbers if number not in unreadable]
        count = sum(split[number] == "val" for number in numbers)
        self.count, self.candidates = (count, len(numbers)) if count > 1 else (0, 0)
        if not self.count:
            return
        whole = features.read(features.first[numbers]) if features else torch.from_numpy(np.stack([seen[number] for number in numbers]))
        self._pictures = whole.split(batch_size(device, config))
        self._texts = np.array([text for number in numbers for text in of_example[number]])
        owner = [index for index, number in enumerate(numbers) for _ in of_example[number]]
        self._asked = np.flatnonzero(np.array(owner) < count)
        rows, owners = defaultdict[int, set[int]](set), defaultdict[int, set[int]](set)  # by text
        for row, (text, picture) in enumerate(zip(self._texts.tolist(), owner, strict=True)):
            rows[text].add(row)
            owners[text].add(picture)
        self._of_text = [sorted(owners[text]) for text in self._texts[self._asked].tolist()]
        self._of_picture = [sorted({row for text in of_example[number] for row in rows[text]}) for number in numbers[:count]]

    @torch.inference_mode()
    def __call__(self, model: CoCa, precision: Precision) -> Mapping[str, float]:
        """Recall@1, 5 and 10 in percent and the log loss in nats of the held-out pictures, by names such as "text to picture R@1".

        Empty if `count` is 0.
        """
        if not self.count:
            return {}
        images, texts = [], []
        tower, corpus = model.image_tower, self._materials.corpus
        with precision():
            for part in self._pictures:
                pictures = part.to(self._device)
                tokens = tower(pictures) if part.dtype == torch.uint8 else tower.finish(pictures, self._materials.frozen_units)
                images.append(model.poolers.embed(tokens))
            order = np.argsort(corpus.lengths[self._texts], kind="stable")
            for numbers in np.array_split(self._texts[order], max(1, len(order) // _TEXTS)):
                batch = corpus.batch(numbers, most_tokens=model.config.text.context_length, decoded=np.zeros(len(numbers), bool))
                batch = batch.to(self._device)
                texts.append(model.unimodal(batch.token_ids, batch.valid)[0])
        image = F.normalize(torch.cat(images).float(), dim=-1).cpu().numpy()
        text = F.normalize(torch.cat(texts).float(), dim=-1).cpu().numpy()[np.argsort(order)]
        found: dict[str, float] = {}
        for way, queries, gallery, right in (
            ("text to picture", text[self._asked], image, self._of_text),
            ("picture to text", image[: self.count], text, self._of_picture),
        ):
            curve = recall_curve(ranks_of_right(queries, gallery, right), KS)
            found |= {f"{way} R@{k}": round(rate, 1) for k, rate in zip(KS, curve, strict=True)}
            found[f"{way} {LOG_LOSS}"] = round(log_loss(queries, gallery, right), 3)
        return found


def log_loss(queries: NDArray[np.float32], gallery: NDArray[np.float32], right: Sequence[Sequence[int]]) -> float:
    """The mean over queries of -log of the softmax probability of the correct rows, in nats, at the best of `_SCALES`.

    `queries` (Q, E) and `gallery` (G, E) have rows of L2 norm 1. `right` has for each query the indices of its correct rows.
    """
    total = torch.zeros(len(_SCALES))
    for first in range(0, len(queries), _TEXTS):
        logits = torch.from_numpy(similarities(queries[first : first + _TEXTS], gallery))
        wrong = ~torch.from_numpy(marked(right[first : first + _TEXTS], logits.shape))
        shares = [F.log_softmax(scale * logits, 1).masked_fill(wrong, -torch.inf).logsumexp(1).sum() for scale in _SCALES]
        total -= torch.stack(shares)
    return float(total.min().clamp(min=0)) / len(queries)
