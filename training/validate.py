"""Recall on the held-out pictures, by exact ranking, both ways: the same ranking as `coca-search eval retrieval`."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from coca_model.coca import CoCa
from coca_model.machine import batch_size
from evaluation.ranking import KS, ranks_of_right, recall_curve
from training.corpus import Corpus
from training.examples import Skipped
from training.gradients import Precision
from training.materials import Materials
from training.views import PLAIN, view_or_reason

_TEXTS = 256


class Validation:
    """Held-out pictures, as the frozen units left them or as pixels, with the numbers of their texts.

    Args:
        pictures: batches of uint8 (B, H, W, 3), or of what `frozen_units` units made of them.
        owner: for each text the picture that it describes.
    """

    def __init__(self, pictures: Sequence[Tensor], texts: Sequence[int], owner: Sequence[int], *, frozen_units: int) -> None:
        self.pictures, self.texts, self.owner, self.frozen_units = pictures, np.asarray(texts), np.asarray(owner), frozen_units
        self.count = sum(map(len, pictures))

    @torch.inference_mode()
    def __call__(self, model: CoCa, corpus: Corpus, *, precision: Precision, device: torch.device) -> Mapping[str, float]:
        """Recall@1, 5 and 10 and the mean reciprocal rank, in percent, by names such as "text to picture R@1"."""
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
        of_picture = [np.flatnonzero(self.owner == picture).tolist() for picture in range(len(image))]
        to_picture = ranks_of_right(text, image, [[int(owner)] for owner in self.owner])
        to_text = ranks_of_right(image, text, of_picture)
        found: dict[str, float] = {}
        for way, ranks in (("text to picture", to_picture), ("picture to text", to_text)):
            first = np.array([rank[0] for rank in ranks])
            found |= {f"{way} R@{k}": round(rate, 1) for k, rate in zip(KS, recall_curve(ranks, KS), strict=True)}
            found[f"{way} MRR"] = round(100 * float((1 / first).mean()), 2)
        return found


def held_out_pictures(materials: Materials, device: torch.device) -> tuple[Validation | None, list[Skipped]]:
    """The held-out pictures with texts, as validation looks at them; None where fewer than two can be read. And those that cannot."""
    config, kept = materials.model.config.image, materials.kept
    of_example = materials.corpus.of_example
    numbers = [number for number, example in enumerate(materials.examples) if example.split == "val" and of_example[number]]
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
    if len(numbers) < 2:
        return None, list(skipped.values())
    texts = [text for number in numbers for text in of_example[number]]
    owner = [place for place, number in enumerate(numbers) for _ in of_example[number]]
    parts = whole.split(batch_size(device, config))
    return Validation(parts, texts, owner, frozen_units=materials.frozen_units), list(skipped.values())
