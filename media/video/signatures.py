"""How much two frames differ, by very small versions of them."""

import numpy as np
from numpy.typing import NDArray

_NOISE = 4.0

Signature = NDArray[np.uint8]


def change(one: Signature, other: Signature) -> float:
    """The mean difference of blocks of 2 x 2 pixels, summed over luma and the two colour differences. Signatures: uint8 (3, H, W)."""
    difference = one.astype(np.int16) - other
    pairs = difference[:, ::2] + difference[:, 1::2]
    return float(np.abs(pairs[..., ::2] + pairs[..., 1::2]).sum()) / one[0].size


def is_alike(one: Signature, other: Signature) -> bool:
    """Whether two frames differ by noise only, in every part of the picture."""
    difference = one.astype(np.float32) - other
    channels, height, width = difference.shape
    return bool(np.abs(difference.reshape(channels, height // 4, 4, width // 4, 4).mean((2, 4))).max() < _NOISE)


def other_colours(one: Signature, other: Signature) -> float:
    """The part of the pixels whose colour has no counterpart in the other frame: 0 to 1."""
    counts = [np.bincount(_bins(signature), minlength=512) for signature in (one, other)]
    return float(np.abs(counts[0] - counts[1]).sum()) / (2 * one[0].size)


def _bins(signature: Signature) -> NDArray[np.uint16]:
    """One of 8 x 8 x 8 colours for each pixel."""
    luma, blue, red = (signature >> 5).astype(np.uint16)
    return (luma * 64 + blue * 8 + red).reshape(-1)
