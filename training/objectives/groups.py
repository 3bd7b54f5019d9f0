"""Contrastive objectives that compare positives with each other, and negatives with each other, before they compare both groups.

`contrastive_loss` compares each positive with all negatives at once. CACR (Zheng et al. 2023, TMLR, arXiv 2105.03746) pulls more at
distant positives and pushes more at close negatives. GroCo (Shvetsova et al. 2023, ICCV, arXiv 2301.02009) sorts, and asks that
positives come last. Of both papers only abstracts and the authors' code could be read here.

Both papers have views of pictures as positives. Here, as in `contrastive_loss`, the positives of a picture are the texts of the same
picture in the batch, and the negatives are all other texts; the same from text to picture. Mostly there is one positive.

Axes: B batch, N compared rows, E embedding. `image` and `text` are float (B, E) with rows of L2 norm 1. `same` is bool (B, B): whether
two rows have the same picture; True on the diagonal. Losses are scalars, and the mean of both directions.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_STEEPNESS = 1.0  # GroCo's, of the soft comparisons of cosines
_NEGATIVES = 10  # GroCo's, the nearest ones that are sorted


def attraction_repulsion_loss(image: Tensor, text: Tensor, same: Tensor, *, attraction: float = 1.0, repulsion: float = 1.0) -> Tensor:
    """CACR with squared Euclidean distances: the mean distance to positives minus that to negatives, each as an expectation.

    Positives have the probability softmax(attraction * distance), so distant ones count more; negatives softmax(-repulsion *
    distance), so close ones count more. As in the authors' code, the probabilities have a gradient. With both settings at 0 all
    positives, and all negatives, count alike. The default settings are those of the authors' code.

    The loss does not use the temperature of the model. It lies between -4 and 4. Rows without a negative have no repulsion.
    """
    distance = (2 - 2 * image @ text.T).clamp(min=0)  # (B, B)
    ways = [_attract_and_repel(each, same, attraction, repulsion) for each in (distance, distance.T)]
    return (ways[0] + ways[1]) / 2


def _attract_and_repel(distance: Tensor, same: Tensor, attraction: float, repulsion: float) -> Tensor:
    near = torch.softmax((attraction * distance).masked_fill(~same, -math.inf), dim=1)  # (B, B)
    # The smallest number instead of -inf, because a row may have no negative.
    far = torch.softmax((-repulsion * distance).masked_fill(same, torch.finfo(distance.dtype).min), dim=1) * ~same
    return ((near - far) * distance).sum(1).mean()


def group_ordering_loss(image: Tensor, text: Tensor, same: Tensor) -> Tensor:
    """GroCo: sort the cosines of the positives and of the ten nearest negatives softly. Positives must take the last places.

    The loss is the binary cross-entropy of the probability that a compared row ends among the last P places, where P is the number of
    positives, with 1 for positives and 0 for negatives. The authors' code averages this and the one for the first places, which is
    equal. As there, the steepness is 1, both groups are sorted before, and only the queries get a gradient, so the two directions
    train the two towers. The loss does not use the temperature of the model. Rows without a negative cost 0.
    """
    return (_order(image, text.detach(), same) + _order(text, image.detach(), same)) / 2


def _order(query: Tensor, key: Tensor, same: Tensor) -> Tensor:
    """The mean over queries (B, E). Queries with the same number of positives are sorted together."""
    cosine, counts = query @ key.T, same.sum(1)
    costs = [cosine.new_zeros(0)]
    for count in counts.unique().tolist():
        some, is_positive = cosine[counts == count], same[counts == count]  # (b, B)
        positive = some[is_positive].view(-1, count).sort(1).values  # (b, P), ascending
        negative = some[~is_positive].view(len(some), -1)
        negative = negative.topk(min(_NEGATIVES, negative.shape[1])).values.flip(1)  # (b, n), ascending
        places = soft_sort(torch.cat([negative, positive], dim=1))  # (b, N, N)
        last = places[..., negative.shape[1] :].sum(2).clamp(0, 1)  # (b, N), whether it ends among the last P
        wanted = torch.zeros_like(last)
        wanted[:, negative.shape[1] :] = 1
        costs.append(F.binary_cross_entropy(last, wanted, reduction="none").mean(1))
    return torch.cat(costs).mean()


def soft_sort(values: Tensor) -> Tensor:
    """Float (B, N) -> (B, N, N): the probability that each value takes each place in ascending order. Rows and columns sum to 1.

    An odd-even sorting network (Petersen et al. 2022, ICLR, arXiv 2203.09630) with soft swaps: two neighbours are exchanged to the
    degree of the Cauchy distribution function of their difference. The values themselves are mixed too. The authors name this
    function in their settings; its formula is the usual one, and we could not compare it with their library.
    """
    count = values.shape[1]
    identity = torch.eye(count, dtype=values.dtype, device=values.device).expand(len(values), -1, -1)
    wires = torch.cat([values[:, None], identity], dim=1)  # (B, 1+N, N): the values, then where each comes from
    for layer in range(count):
        first = layer % 2
        left, right = wires[..., first : count - 1 : 2], wires[..., first + 1 : count : 2]  # (B, 1+N, pairs)
        ordered = torch.atan(_STEEPNESS * (right[:, :1] - left[:, :1])) / math.pi + 0.5  # (B, 1, pairs), 1 if already in order
        wires = wires.clone()
        wires[..., first : count - 1 : 2] = ordered * left + (1 - ordered) * right
        wires[..., first + 1 : count : 2] = ordered * right + (1 - ordered) * left
    return wires[:, 1:]
