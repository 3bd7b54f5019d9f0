"""The buffers of Arrow's arrays as NumPy's arrays. `to_numpy` unpacks bits ten times as slowly, and imports pandas if it is there."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def as_bool(array: pa.BooleanArray) -> NDArray[np.bool_]:
    """True where the array is true, bool (N,); null is false."""
    true = _unpacked(array.buffers()[1], array)
    return true & is_valid(array) if array.null_count else true


def is_valid(array: pa.Array) -> NDArray[np.bool_]:
    """Where an array is not null, bool (N,)."""
    if not array.null_count:
        return np.ones(len(array), bool)
    return _unpacked(array.buffers()[0], array) if array.buffers()[0] is not None else np.zeros(len(array), bool)


def plain(array: pa.Array, dtype: type[np.number[Any]]) -> NDArray[Any]:
    """The values of an array of numbers (N,), without a copy. Where it is null, they can be anything."""
    return np.frombuffer(array.buffers()[1], dtype)[array.offset : array.offset + len(array)] if len(array) else np.zeros(0, dtype)


def _unpacked(bits: pa.Buffer, array: pa.Array) -> NDArray[np.bool_]:
    if not len(array):
        return np.zeros(0, bool)
    first = array.offset // 8
    start = array.offset - 8 * first
    packed = np.frombuffer(bits, np.uint8, offset=first, count=(start + len(array) + 7) // 8)
    return np.unpackbits(packed, count=start + len(array), bitorder="little")[start:].view(bool)
