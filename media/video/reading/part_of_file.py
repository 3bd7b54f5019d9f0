"""Some bytes of an open file, as a file: for a film inside a motion photo or in a bucket. PyAV wants plain `read`, `seek` and `tell`."""

import os
from typing import BinaryIO

from media.errors import MediaError


class PartOfFile:
    """The bytes `[start, start + length)` of a file that can seek; by default to its end. It has a position of its own.

    Raises MediaError (read) if the file cannot be read: that is no damage of the film.
    """

    def __init__(self, file: BinaryIO, start: int = 0, length: int | None = None) -> None:
        whole = file.seek(0, os.SEEK_END)
        self._file, self._start = file, min(start, whole)
        self._length = whole - self._start if length is None else min(length, whole - self._start)
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._length - self._position)
        try:
            self._file.seek(self._start + self._position)
            data = self._file.read(left if size < 0 else min(size, left))
        except OSError as error:
            raise MediaError("read", error.strerror or str(error)) from error
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position
