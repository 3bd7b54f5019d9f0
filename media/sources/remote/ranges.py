"""A file that is read by ranges: only the parts that are used are downloaded.

A jump fetches little, because only an index or a header may be wanted there. Each fetch that continues another one takes twice as much,
up to 8 MiB, so that a film is read in few requests. What was read lately is kept, because demuxers jump between two places.
"""

import io
from collections.abc import Callable
from typing import Any

LEAST, _MOST = 1 << 17, 1 << 23  # bytes of one request
_KEPT = 1 << 25  # bytes in memory
_ALIGNED = 1 << 14  # some demuxers read an index backwards in small steps


class RangeFile(io.RawIOBase):
    """Reads a file of `size_bytes`, that starts with `head`, through `get(start, stop)`. One thread at a time."""

    def __init__(self, get: Callable[[int, int], bytes], size_bytes: int, head: bytes = b"") -> None:
        super().__init__()
        self._get, self._size = get, size_bytes
        self._position = 0
        self._blocks = {0: head} if head else {}  # by start, the oldest first

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence] + offset
        if position < 0:
            raise ValueError(f"A file cannot be read before its start ({position}).")
        self._position = position
        return position

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer from the block at the position; it may get less than it can hold."""
        if self._position >= self._size or not len(buffer):
            return 0
        start, block = self._block_at(self._position)
        part = block[self._position - start :][: len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def readall(self) -> bytes:
        parts = []
        while self._position < self._size:
            start, block = self._block_at(self._position)
            parts.append(block[self._position - start :])
            self._position = start + len(block)
        return b"".join(parts)

    def _block_at(self, position: int) -> tuple[int, bytes]:
        for start, block in self._blocks.items():
            if start <= position < start + len(block):
                return start, block
        ends = {start + len(block): len(block) for start, block in self._blocks.items()}
        start = max([position - position % _ALIGNED, *(end for end in ends if end <= position)])
        length = min(_MOST, 2 * ends[start]) if start in ends else LEAST
        stop = min([max(start + length, position + 1), self._size, *(other for other in self._blocks if other > position)])
        self._blocks[start] = block = self._get(start, stop)
        while sum(map(len, self._blocks.values())) > _KEPT and len(self._blocks) > 1:
            del self._blocks[next(iter(self._blocks))]
        return start, block
