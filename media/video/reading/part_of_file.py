"""Some bytes of an open file, as a file: for a film inside a motion photo, and for PyAV, which wants plain `read`, `seek` and `tell`."""

import os
from typing import BinaryIO


class PartOfFile:
    """The bytes `[start, start + length)` of a file that can seek; by default to its end."""

    def __init__(self, file: BinaryIO, start: int = 0, length: int | None = None) -> None:
        whole = file.seek(0, os.SEEK_END)
        self._file, self._start = file, min(start, whole)
        self._length = whole - self._start if length is None else min(length, whole - self._start)
        self.seek(0)

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._length - self.tell())
        return self._file.read(left if size < 0 else min(size, left))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._length}[whence]
        self._file.seek(self._start + max(0, base + offset))
        return self.tell()

    def tell(self) -> int:
        return self._file.tell() - self._start
