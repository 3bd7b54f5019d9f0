"""The date of a Windows Media file. FFmpeg reads all of its tags, but not this field of its header."""

import datetime
import struct

HEAD_BYTES = 1 << 16
_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_OBJECTS = 30  # where the objects of the header begin
_EPOCH = datetime.datetime(1601, 1, 1)
_MAX_OBJECTS = 100


def creation_time(head: bytes) -> str | None:
    """When the file was made, in UTC, by its first `HEAD_BYTES` bytes; None if it does not say (ASF specification 1.20.03, 3.2)."""
    at = _OBJECTS
    for _ in range(_MAX_OBJECTS):
        name, size, _, _, ticks = struct.unpack("<16sQ16sQQ", head[at : at + 56].ljust(56, b"\0"))
        if name == _FILE_PROPERTIES and ticks:
            try:
                return f"{_EPOCH + datetime.timedelta(microseconds=ticks // 10):%Y-%m-%dT%H:%M:%SZ}"
            except OverflowError:
                return None
        if size < 24 or at + size > len(head):
            return None
        at += size
    return None
