"""Frames to vectors, in batches filled across files and across videos."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coca_model import Encoder
from indexer.decode import Clock, FileDone, FileFailed, Frame, Item


@dataclass(frozen=True)
class Embedded:
    """A frame with its vector, float32 (E,) of L2 norm 1; the pixels are let go."""

    frame: Frame
    vector: NDArray[np.float32]


def embed(items: Iterable[Item], encoder: Encoder, clock: Clock, *, batch: int = 32) -> Iterator[Embedded | FileDone | FileFailed]:
    """The same items in the same order, each frame with its vector."""
    waiting: list[Item] = []
    frames: list[Frame] = []
    for item in items:
        waiting.append(item)
        if isinstance(item, Frame):
            frames.append(item)
        if len(frames) == batch:
            yield from _flush(waiting, frames, encoder, clock)
            waiting, frames = [], []
    yield from _flush(waiting, frames, encoder, clock)


def _flush(waiting: list[Item], frames: list[Frame], encoder: Encoder, clock: Clock) -> Iterator[Embedded | FileDone | FileFailed]:
    since = time.monotonic()
    vectors = iter(encoder.encode_pixels(np.stack([frame.pixels for frame in frames]))) if frames else iter(())
    clock.add("embed", since)
    for item in waiting:
        yield Embedded(item, next(vectors)) if isinstance(item, Frame) else item
