"""Arrow's arrays from and to NumPy's, by their buffers.

`to_numpy` unpacks bits ten times as slowly. And it imports pandas if that is installed, as `pa.array` and `pa.scalar` do: half a second.
"""

from collections.abc import Collection
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


def numbers(values: NDArray[Any], are_known: NDArray[np.bool_] | None = None) -> pa.Array:
    """An array of numbers (N,)."""
    valid = None if are_known is None else pa.py_buffer(np.packbits(are_known, bitorder="little"))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [valid, pa.py_buffer(np.ascontiguousarray(values))])


def texts(values: Collection[str], kind: pa.DataType) -> pa.Array:
    """An array of texts; `kind` is string or large_string."""
    encoded = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64 if kind == pa.large_string() else np.int32)
    return pa.Array.from_buffers(kind, len(encoded), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))])


def _unpacked(bits: pa.Buffer, array: pa.Array) -> NDArray[np.bool_]:
    if not len(array):
        return np.zeros(0, bool)
    first = array.offset // 8
    start = array.offset - 8 * first
    packed = np.frombuffer(bits, np.uint8, offset=first, count=(start + len(array) + 7) // 8)
    return np.unpackbits(packed, count=start + len(array), bitorder="little")[start:].view(bool)
