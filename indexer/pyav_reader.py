"""Old names, for `evaluation` only: use `media.video.pyav_reader` instead."""

from types import SimpleNamespace

from media.video import pyav_reader
from media.video.pyav_reader import read_frames

__all__ = ["probe", "read_frames"]


def probe(path: str) -> SimpleNamespace:
    return SimpleNamespace(**pyav_reader.probe(path))
