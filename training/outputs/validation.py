"""Validation: how well held-out pictures and their texts find each other, ranked as in `coca-search eval retrieval`.

Among few pictures, each is found easily. So training pictures are added until there are `_CANDIDATES`. The best weights are those
with the lowest log loss, which still changes when ranks do not.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from coca_model.architecture.coca import CoCa
from coca_model.machine import batch_size
from evaluation.measures.ranking import KS, ranks_of_right, recall_curve, similarities
from training.cache.views import PLAIN, view_or_reason
from training.examples.example import Skipped
from training.prepare.corpus import Corpus
from training.prepare.materials import Materials
from training.steps.gradients import Precision

LOG_LOSS = "log loss"
_TEXTS = 256
_CANDIDATES = 200
_SCALES = torch.logspace(0, 2, 25)  # 1 / temperature, up to the limit of training


class Validation:
    """Measures a model on pictures with the given texts.

    Args:
        pictures: batches of uint8 (B, H, W, 3), or of the output of the first `frozen_units` units.
        texts: the numbers of the texts in the corpus.
        owner: for each text the index of its picture.
        count: the first so many pictures are held out; the others are only distractors. A text is correct for each picture that has it.
    """

    def __init__(self, pictures: Sequence[Tensor], texts: Sequence[int], owner: Sequence[int], *, count: int, frozen_units: int) -> None:
        self.pictures, self.texts, self.owner, self.frozen_units = pictures, np.asarray(texts), np.asarray(owner), frozen_units
        self.count, self.candidates = count, sum(map(len, pictures))
        self._asked = np.flatnonzero(self.owner < count)
        rows, shown = defaultdict[int, list[int]](list), defaultdict[int, set[int]](set)
        for row, (number, picture) in enumerate(zip(self.texts.tolist(), self.owner.tolist(), strict=True)):
            rows[number].append(row)
            shown[picture].add(number)
        self._of_text = [sorted({int(self.owner[row]) for row in rows[number]}) for number in self.texts[self._asked].tolist()]
        self._of_picture = [sorted(row for number in shown[picture] for row in rows[number]) for picture in range(count)]

    @torch.inference_mode()
    def __call__(self, model: CoCa, corpus: Corpus, *, precision: Precision, device: torch.device) -> Mapping[str, float]:
        """Recall@1, 5 and 10 in percent and the log loss in nats of the held-out pictures, by names such as "text to picture R@1"."""
        images, texts = [], []
        with precision():
            for part in self.pictures:
                on_device = part.to(device)
                tower = model.image_tower
                tokens = tower(on_device) if part.dtype == torch.uint8 else tower.finish(on_device, self.frozen_units)
                images.append(model.poolers.embed(tokens))
            order = np.argsort(corpus.lengths[self.texts], kind="stable")
            for numbers in np.array_split(self.texts[order], max(1, len(order) // _TEXTS)):
                batch = corpus.batch(numbers, most_tokens=model.config.text.context_length, decoded=np.zeros(len(numbers), bool)).to(device)
                texts.append(model.encode_text(batch.token_ids, batch.valid)[0])
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

    Args:
        queries, gallery: float32 (Q, E) and (G, E), each row of L2 norm 1.
        right: for each query the indices of the correct rows of the gallery.
    """
    total = torch.zeros(len(_SCALES))
    for first in range(0, len(queries), _TEXTS):
        logits = torch.from_numpy(similarities(queries[first : first + _TEXTS], gallery))
        wrong = torch.ones(logits.shape, dtype=torch.bool)
        for row, own in zip(wrong, right[first : first + _TEXTS], strict=True):
            row[list(own)] = False
        shares = [F.log_softmax(scale * logits, 1).masked_fill(wrong, -torch.inf).logsumexp(1).sum() for scale in _SCALES]
        total -= torch.stack(shares)
    return float(total.min().clamp(min=0)) / len(queries)


def held_out_pictures(materials: Materials, device: torch.device) -> tuple[Validation | None, list[Skipped]]:
    """The validation on the held-out pictures with texts, or None if fewer than two can be read; and the unreadable ones.

    If they are few, training pictures are added, evenly spaced in the order of the examples.
    """
    config, features = materials.model.config.image, materials.features
    of_example = materials.corpus.of_example
    with_texts = [number for number, example in enumerate(materials.examples) if of_example[number]]
    held_out = [number for number in with_texts if materials.examples[number].split == "val"]
    trained = [number for number in with_texts if materials.examples[number].split == "train"]
    beside = np.linspace(0, len(trained) - 1, min(len(trained), max(0, _CANDIDATES - len(held_out)))).astype(np.int64)
    numbers = held_out + [trained[index] for index in beside]
    skipped: dict[int, Skipped] = {}
    if features is not None:
        numbers = [number for number in numbers if number not in features.unreadable]
        whole = features.read(features.first[numbers])
    else:
        seen = {number: view_or_reason(materials.examples[number], PLAIN, config, seed=()) for number in numbers}
        skipped = {number: Skipped(materials.examples[number].name, one) for number, one in seen.items() if isinstance(one, str)}
        numbers = [number for number in numbers if number not in skipped]
        pixels = [one for one in seen.values() if not isinstance(one, str)]
        whole = torch.from_numpy(np.stack(pixels)) if pixels else torch.zeros(0)
    count = sum(materials.examples[number].split == "val" for number in numbers)
    if count < 2:
        return None, list(skipped.values())
    texts = [text for number in numbers for text in of_example[number]]
    owner = [index for index, number in enumerate(numbers) for _ in of_example[number]]
    parts = whole.split(batch_size(device, config))
    return Validation(parts, texts, owner, count=count, frozen_units=materials.frozen_units), list(skipped.values())
