"""SHA-256 of files and of bytes, as 64 hexadecimal digits."""

import hashlib
import os
from pathlib import Path


def sha256_of_bytes(data: bytes) -> str:
    """The SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file. Raises OSError if it cannot be read."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
