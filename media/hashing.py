"""SHA-256 of files and of bytes, as 64 hexadecimal digits."""

import hashlib
import os
from pathlib import Path
from typing import Any, BinaryIO, cast


def sha256_of_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_of_stream(stream: BinaryIO) -> str:
    """The hash of all bytes of a stream that can seek."""
    stream.seek(0)
    return hashlib.file_digest(cast("Any", stream), "sha256").hexdigest()


def sha256_of_file(path: str | os.PathLike[str]) -> str:
    """Raises OSError if the file cannot be read."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
