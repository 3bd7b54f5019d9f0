"""Objectives that compare pictures and texts with prototypes, a few vectors that stand for groups, instead of with each other.

SwAV (Caron et al. 2020, NeurIPS, arXiv 2006.09882): a picture predicts the prototypes of its text, and a text those of its picture.
ProtoCLIP (Chen et al. 2022, arXiv 2206.10996): pictures and texts predict the cluster of the text. Of both only the abstract
and the authors' code could be read here.

Axes: B batch, K prototypes, E embedding. Embeddings (B, E) and prototypes (K, E) are float with rows of L2 norm 1. Losses are in nats.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

_SCALE = 10.0  # 1 / temperature, SwAV's
_SMOOTHNESS = 0.05  # SwAV's, of the codes
_ROUNDS = 3  # SwAV's, of Sinkhorn and Knopp's algorithm


@torch.no_grad()
def balanced_codes(scores: Tensor) -> Tensor:
    """SwAV's codes: cosines (B, K) to prototypes -> float (B, K), whose rows sum to 1 and whose columns have almost equal sums.

    Without the balance all rows could get the same code. The columns and then the rows are scaled, three times.
    """
    codes = ((scores - scores.max()) / _SMOOTHNESS).exp()  # (B, K)
    for _ in range(_ROUNDS):
        codes = codes / codes.sum(0)
        codes = codes / codes.sum(1, keepdim=True)
    return codes


def swapped_prototypes_loss(image: Tensor, text: Tensor, prototypes: Tensor) -> Tensor:
    """SwAV's swapped prediction, with a picture and its text as the two views: the mean of both cross-entropies instead of their sum.

    The codes have no gradient. The paper keeps earlier embeddings in a queue if a batch is small; here the prototypes are few instead.
    The paper freezes the prototypes in the first epoch; here they always learn, because phases are short.
    """
    of_image, of_text = image @ prototypes.T, text @ prototypes.T  # (B, K)
    predicted = [F.cross_entropy(_SCALE * a, balanced_codes(b)) for a, b in ((of_image, of_text), (of_text, of_image))]
    return (predicted[0] + predicted[1]) / 2


def clustered_prototypes_loss(image: Tensor, text: Tensor, image_prototypes: Tensor, text_prototypes: Tensor, cluster: Tensor) -> Tensor:
    """ProtoCLIP's loss with an external teacher: the mean of -log p of the cluster of each row, int64 (B,), over pictures and texts.

    ProtoCLIP runs k-means over the embeddings of 200,000 pairs before each episode, also over the vectors of a teacher of texts. It
    then takes the mean embeddings of each cluster as the prototypes, of pictures and texts separately ("back translation"). Our loop
    has no pass over the data between epochs. So only the teacher's clusters are used, which do not change and are found once, and
    the prototypes are learned. The temperature is SwAV's; ProtoCLIP learns one.
    """
    costs = [F.cross_entropy(_SCALE * image @ image_prototypes.T, cluster), F.cross_entropy(_SCALE * text @ text_prototypes.T, cluster)]
    return (costs[0] + costs[1]) / 2
