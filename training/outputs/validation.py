"""How well held-out pictures and their texts find each other, by exact ranking, both ways, as `coca-search eval retrieval` ranks.

Few held-out pictures all find each other before and after. So they are looked for among pictures of the training too, as in a
search, until there are `_CANDIDATES`; and which weights are best is decided by the log loss, which moves where ranks do not.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from coca_model.coca import CoCa
from coca_model.machine import batch_size
from evaluation.ranking import KS, ranks_of_right, recall_curve, similarities
from training.cache.views import PLAIN, view_or_reason
from training.examples.example import Skipped
from training.prepare.corpus import Corpus
from training.prepare.materials import Materials
from training.steps.gradients import Precision

LOG_LOSS = "log loss"
_TEXTS = 256
_CANDIDATES = 200
_SCALES = torch.logspace(0, 2, 25)  # of cosines, up to the most that a training may learn


class Validation:
    """Pictures, as the frozen units left them or as pixels, with the numbers of their texts.

    Args:
        pictures: batches of uint8 (B, H, W, 3), or of what `frozen_units` units made of them.
        owner: for each text the picture that it describes.
        count: how many of the pictures are held out, the first; the others are only in the way. A text is right for all that have it.
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
        """Recall@1, 5 and 10 in percent and the log loss in nats, of the held-out pictures, by names such as "text to picture R@1"."""
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
    """Mean of -log of the share that the right ones get of a softmax over the gallery, in nats, at the temperature that suits best.

    Args:
        queries, gallery: float32 (Q, E) and (G, E), each row of length 1.
        right: for each query the indices of what is right for it.
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
    """The held-out pictures with texts, as validation looks at them; None where fewer than two can be read. And those that cannot.

    Where they are few, pictures of the training stand beside them, evenly drawn in the order of the examples.
    """
    config, kept = materials.model.config.image, materials.kept
    of_example = materials.corpus.of_example
    with_texts = [number for number, example in enumerate(materials.examples) if of_example[number]]
    held_out = [number for number in with_texts if materials.examples[number].split == "val"]
    trained = [number for number in with_texts if materials.examples[number].split == "train"]
    beside = np.linspace(0, len(trained) - 1, min(len(trained), max(0, _CANDIDATES - len(held_out)))).astype(np.int64)
    numbers = held_out + [trained[place] for place in beside]
    skipped: dict[int, Skipped] = {}
    if kept is not None:
        numbers = [number for number in numbers if number not in kept.unreadable]
        whole = kept.read(kept.first[numbers])
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
    owner = [place for place, number in enumerate(numbers) for _ in of_example[number]]
    parts = whole.split(batch_size(device, config))
    return Validation(parts, texts, owner, count=count, frozen_units=materials.frozen_units), list(skipped.values())
