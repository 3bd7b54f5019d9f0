"""The learned parts of objectives of the whole batch. They are not part of the saved model, but of snapshots."""

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.objectives.arbitrary_pairs import LabelGate
from training.objectives.masked import VisualCodebook
from training.prepare.corpus import Texts

WITH_HEADS = ("arbitrary_pairs", "swapped_prototypes", "clustered_prototypes")
_PROTOTYPES = 128  # of `swapped_prototypes`. Fewer than the pictures of a batch, so that codes can be balanced; SwAV has 3,000
_CLUSTERS = 512  # of `clustered_prototypes`. ProtoCLIP has one for ten pairs of an episode
_CLUSTERED = 50_000  # texts from which the clusters are found


class Heads(nn.Module):
    """The heads of some of the objectives `WITH_HEADS`, for embeddings of the given width.

    `meanings` are the sentence teacher's vectors of the texts to train on, float (T, E'), or None without a teacher.
    """

    def __init__(self, names: Collection[str], width: int, meanings: Tensor | None, *, seed: int) -> None:
        super().__init__()
        self.gate: LabelGate | None = None
        self.shared = nn.ParameterDict()
        self.codebook: VisualCodebook | None = None
        if "swapped_prototypes" in names:
            self.shared["prototypes"] = nn.Parameter(torch.randn(_PROTOTYPES, width))
        if meanings is not None and "arbitrary_pairs" in names:
            self.gate = LabelGate(meanings.shape[1], width)
        if meanings is not None and "clustered_prototypes" in names:
            some = meanings[torch.linspace(0, len(meanings) - 1, min(len(meanings), _CLUSTERED)).long()]
            self.codebook = VisualCodebook.fit(F.normalize(some.float(), dim=-1), min(_CLUSTERS, len(some)), seed)
            for name in ("image_prototypes", "text_prototypes"):
                self.shared[name] = nn.Parameter(torch.randn(len(self.codebook.centroids), width))

    def forward(self, texts: Texts | None) -> dict[str, Tensor]:
        """By name in `WholeBatch`: the gates of the texts, if any, and the same prototypes for every part of a batch, of L2 norm 1."""
        found = {name: F.normalize(value.float(), dim=-1) for name, value in self.shared.items()}
        if self.codebook is not None:
            found["centroids"] = self.codebook.centroids.float()
        if self.gate is not None and texts is not None and texts.meaning is not None:
            found["gate"] = self.gate(texts.meaning.to(next(self.gate.parameters()).dtype)).float()
        return found
