"""What can go wrong in `media`.

MediaError          a file that cannot be read or decoded
└── PictureError    bytes that are not a picture, a damaged picture, or one with too many pixels
"""

from typing import Literal

Stage = Literal["read", "probe", "decode"]  # what failed: reading the bytes, finding out what the file is, decoding its pixels


class MediaError(Exception):
    """A file that cannot be read or decoded. `reason` says what is wrong; `name` is the file, or empty if the caller knows it."""

    def __init__(self, stage: Stage, reason: str, name: str = "") -> None:
        super().__init__(stage, reason, name)
        self.stage, self.reason, self.name = stage, reason, name

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}" if self.name else self.reason


class PictureError(MediaError):
    """Bytes that are not a picture, a damaged picture, or one with too many pixels."""
