"""Media and texts of a data set to what the model makes of them, kept in the cache batch by batch.

Pictures decode in threads, videos in the indexer's worker process; what fails is an error that names the record, or, where
the caller allows it, left out and counted.
"""

import hashlib
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coca_model import Encoder, PictureError, open_picture
from evaluation.datasets.dataset import CaptionedMedia, LabelledMedia, Medium
from evaluation.errors import UnreadableMediaError
from evaluation.features.cache import Arrays, ResultCache, batches, space_of
from indexer.errors import MediaError
from indexer.sample import mean_vector
from indexer.video import VideoDecoder
from indexer.video_protocol import Facts

DataSet = TypeVar("DataSet", CaptionedMedia, LabelledMedia)
OnProgress = Callable[[str, int, int], None]  # what is done, how many of them, of how many
_THREADS = 4
_TEXTS = 1024  # texts between two commits
_VIDEO_LIMIT_SECONDS = 60.0


@dataclass(frozen=True)
class Decoded:
    """A medium as pixels: uint8 (n, H, W, 3), n = 1 for a picture, with the time of each frame and the length in seconds."""

    pixels: NDArray[np.uint8]
    seconds: NDArray[np.float64]
    duration_seconds: float


@dataclass(frozen=True)
class Feature:
    """What is computed of a medium and kept.

    Attributes:
        name: part of the cache's key; another computation needs another name.
        of_frames: the encoder and pixels uint8 (n, H, W, 3) of frames -> an array (n, ...).
        keep: that array of one medium's frames, and the medium -> the arrays that are kept.
        seconds_between: how far the frames of a video are apart; by default the paper's protocol, 16 uniformly spaced ones.
    """

    name: str
    of_frames: Callable[[Encoder, NDArray[np.uint8]], NDArray[np.generic]]
    keep: Callable[[NDArray[np.generic], Decoded], Arrays]
    seconds_between: float = math.inf


def _mean(vectors: NDArray[np.generic], _: Decoded) -> Arrays:
    return {"vector": mean_vector(vectors.astype(np.float32))}


# One vector a medium: a picture's own, and for a video the mean over 16 frames (Yu et al. 2022, section 4.2, video retrieval).
MEAN_VECTOR = Feature("vector", lambda encoder, pixels: encoder.encode_pixels(pixels), _mean)


class FeatureSource:
    """Features of media and texts by one encoder, from the cache where they are there."""

    def __init__(self, encoder: Encoder, cache: ResultCache, *, allow_missing: bool = False, on_progress: OnProgress | None = None) -> None:
        self.encoder, self.cache, self.on_progress = encoder, cache, on_progress or (lambda *_: None)
        self._allow_missing = allow_missing
        self._digest_of: dict[tuple[Path, str], bytes] = {}  # a file is hashed once, whatever is computed of it

    def of_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 (N, E), each row of L2 norm 1."""
        space = space_of(self.encoder, "text")
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        known = self.cache.known(space, keys)
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        done = 0
        for some in batches(new.items(), _TEXTS):
            vectors = self.encoder.encode_texts([text for _, text in some])
            self.cache.put(space, {key: {"vector": vector} for (key, _), vector in zip(some, vectors, strict=True)})
            done += len(some)
            self.on_progress("texts", done, len(new))
        found = self.cache.get(space, keys)
        return np.stack([found[key]["vector"] for key in keys]).astype(np.float32)

    def of_media(self, media: Sequence[Medium], feature: Feature) -> "Features":
        """Compute what is not there yet.

        Raises:
            UnreadableMediaError: one cannot be read, and that is not allowed; the message names its record.
        """
        space = space_of(self.encoder, feature.name)
        keys = self._digests(media)
        known = self.cache.known(space, keys)
        todo = {key: index for index, key in reversed(list(enumerate(keys))) if key not in known}
        order = sorted(todo.values())
        failed: dict[bytes, str] = {}
        frames: list[NDArray[np.uint8]] = []
        waiting: list[tuple[bytes, Decoded]] = []
        with ThreadPoolExecutor(_THREADS) as pool:
            for done, (index, decoded) in enumerate(self._decode([media[i] for i in order], feature.seconds_between, pool), 1):
                key = keys[order[index]]
                if isinstance(decoded, str):
                    failed[key] = decoded
                    if not self._allow_missing:
                        break
                else:
                    waiting.append((key, decoded))
                    frames.append(decoded.pixels)
                if sum(map(len, frames)) >= self.encoder.batch_size:
                    self._flush(space, feature, waiting)
                    frames, waiting = [], []
                self.on_progress("media", done, len(order))
        self._flush(space, feature, waiting)
        reasons = {
            index: f"{medium.record}: {medium.name!r} cannot be read: {failed[key].rstrip('.')}."
            for index, (medium, key) in enumerate(zip(media, keys, strict=True))
            if key in failed
        }
        if reasons and not self._allow_missing:
            raise UnreadableMediaError(f"{next(iter(reasons.values()))} Pass --allow-missing to leave such records out.")
        return Features(self.cache, space, tuple(keys), reasons)

    def _flush(self, space: str, feature: Feature, waiting: list[tuple[bytes, Decoded]]) -> None:
        if waiting:
            values = feature.of_frames(self.encoder, np.concatenate([decoded.pixels for _, decoded in waiting]))
            ends = np.cumsum([len(decoded.pixels) for _, decoded in waiting])
            parts = np.split(values, ends[:-1])
            self.cache.put(space, {key: feature.keep(part, decoded) for (key, decoded), part in zip(waiting, parts, strict=True)})

    def _digests(self, media: Sequence[Medium]) -> list[bytes]:
        new = [medium for medium in media if (medium.path, medium.name) not in self._digest_of]
        with ThreadPoolExecutor(_THREADS) as pool:
            for done, (medium, digest) in enumerate(zip(new, pool.map(_digest, new), strict=True), 1):
                self._digest_of[medium.path, medium.name] = digest
                self.on_progress("hashes", done, len(new))
        return [self._digest_of[medium.path, medium.name] for medium in media]

    def _decode(self, media: Sequence[Medium], seconds_between: float, pool: ThreadPoolExecutor) -> Iterator[tuple[int, Decoded | str]]:
        """The media in order, each as pixels or as the reason why not; pictures a few ahead."""
        videos = VideoDecoder(limit_seconds=_VIDEO_LIMIT_SECONDS, seconds_between=seconds_between)
        try:
            ahead: deque[tuple[Medium, Future[Decoded | str] | None]] = deque()
            rest = iter(media)
            for index in range(len(media)):
                for medium in islice(rest, 4 * self.encoder.batch_size - len(ahead)):
                    ahead.append((medium, pool.submit(self._picture, medium) if medium.kind == "image" else None))
                medium, picture = ahead.popleft()
                yield index, picture.result() if picture else self._video(medium, videos)
        finally:
            videos.close()

    def _picture(self, medium: Medium) -> Decoded | str:
        try:
            picture = open_picture(medium.read(), min_side=self.encoder.min_side)
            return Decoded(self.encoder.preprocess(picture)[None], np.zeros(1), 0.0)
        except PictureError as error:
            return str(error).removeprefix("picture: ")
        except OSError as error:
            return error.strerror or str(error)

    def _video(self, medium: Medium, videos: VideoDecoder) -> Decoded | str:
        frames, seconds, duration = [], [], 0.0
        try:
            for reply in videos.frames(str(medium.path)):
                if isinstance(reply, Facts):
                    duration = reply.facts.duration_seconds
                else:
                    frames.append(self.encoder.preprocess(Image.fromarray(reply.frame)))
                    seconds.append(reply.pts_seconds)
        except MediaError as error:
            return error.reason
        return Decoded(np.stack(frames), np.asarray(seconds, np.float64), duration)


@dataclass(frozen=True)
class Features:
    """Features of N media, in the cache; `failed` are the media without one, by index, with the reason."""

    cache: ResultCache
    space: str
    keys: tuple[bytes, ...]
    failed: dict[int, str]

    def load(self, indices: Sequence[int]) -> list[Arrays]:
        """The arrays of some media, in their order."""
        found = self.cache.get(self.space, [self.keys[index] for index in indices])
        return [found[self.keys[index]] for index in indices]

    def vectors(self, indices: Sequence[int] | None = None) -> NDArray[np.float32]:
        """`MEAN_VECTOR` of some media, or of all: float32 (N, E), each row of L2 norm 1."""
        rows = self.load(range(len(self.keys)) if indices is None else indices)
        return np.stack([row["vector"] for row in rows]).astype(np.float32)


def readable(dataset: DataSet, source: FeatureSource, feature: Feature) -> tuple[DataSet, Features]:
    """The media that can be read, and what is computed of them. Raises UnreadableMediaError where not all can and all must."""
    features = source.of_media(dataset.media, feature)
    keys = tuple(key for index, key in enumerate(features.keys) if index not in features.failed)
    return dataset.without(features.failed), Features(features.cache, features.space, keys, {})


def _digest(medium: Medium) -> bytes:
    """SHA-256 of the file; of its name where it cannot be read, which decoding it will report."""
    try:
        if medium.data is not None:
            return hashlib.sha256(medium.data).digest()
        with Path(medium.path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return hashlib.sha256(f"unreadable {medium.path}".encode()).digest()
