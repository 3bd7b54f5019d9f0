"""Computes features of media and texts with the encoder, once, and caches them.

The cache is one SQLite file. Its keys consist of the model, the computation, and the hash of the input. Each batch is committed, so a
killed evaluation continues from its last batch. Another evaluation of the same files by the same model computes nothing.
"""

import hashlib
import math
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load, save

from coca_model import Encoder
from evaluation.datasets.dataset import CaptionedMedia, LabelledMedia, Medium
from evaluation.errors import EvaluationError, UnreadableMediaError
from indexer.processing.shots import mean_vector
from media import MediaError, VideoDecoder, open_picture
from media.hashing import sha256_of_bytes, sha256_of_file

DataSet = TypeVar("DataSet", CaptionedMedia, LabelledMedia)
Arrays = dict[str, NDArray[np.generic]]
OnProgress = Callable[[str, int, int], None]  # stage, done, total
_THREADS = 4
_TEXTS = 1024  # texts in a commit
_VIDEO_LIMIT_SECONDS = 60.0


def space_of(encoder: Encoder, computation: str) -> str:
    """The part of a key that does not depend on the data: weights, preprocessing, arithmetic, and what is computed."""
    weights = encoder.model_id.rsplit("@")[-1]  # without the name of the file
    return f"{weights} {encoder.preprocessing_id} {encoder.dtype} {encoder.device.type} {computation}"


class ResultCache:
    """Named arrays by (space, key), a digest of the input. All methods raise EvaluationError if the file is damaged or not a cache."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=60)
            self._database.execute("CREATE TABLE IF NOT EXISTS results (space TEXT, key BLOB, value BLOB, PRIMARY KEY (space, key))")

    def known(self, space: str, keys: Sequence[bytes]) -> set[bytes]:
        """The keys that have a result."""
        with self._explained():
            return {key for key, _ in self._select("NULL", space, keys)}

    def get(self, space: str, keys: Sequence[bytes]) -> dict[bytes, Arrays]:
        """The known results by key."""
        with self._explained():
            return {key: load(value) for key, value in self._select("value", space, keys)}

    def put(self, space: str, results: Mapping[bytes, Arrays]) -> None:
        """Store results in one commit."""
        named = {key: {name: np.ascontiguousarray(array) for name, array in arrays.items()} for key, arrays in results.items()}
        with self._explained(), self._database:
            rows = [(space, key, save(arrays)) for key, arrays in named.items()]
            self._database.executemany("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, SafetensorError, OSError) as error:
            advice = "Name another file with --cache. Deleting a cache costs only time."
            raise EvaluationError(f"{self.path}: cannot be used as a cache ({error}). {advice}") from error

    def _select(self, column: str, space: str, keys: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
        for key in keys:
            for (value,) in self._database.execute(f"SELECT {column} FROM results WHERE space = ? AND key = ?", (space, key)):
                yield key, value


@dataclass(frozen=True)
class Decoded:
    """A medium as pixels: uint8 (n, H, W, 3), n = 1 for a picture, with the time of each frame and the length in seconds."""

    pixels: NDArray[np.uint8]
    seconds: NDArray[np.float64]
    duration_seconds: float


@dataclass(frozen=True)
class Feature:
    """A computation on a medium, whose result is cached."""

    name: str  # part of the cache's key; another computation needs another name
    of_frames: Callable[[Encoder, NDArray[np.uint8]], NDArray[np.generic]]  # pixels uint8 (n, H, W, 3) of frames -> (n, ...)
    keep: Callable[[NDArray[np.generic], Decoded], Arrays]  # the values of a medium's frames, the medium -> arrays to cache
    seconds_between: float = math.inf  # between sampled frames of a video; infinity gives the paper's protocol, 16 uniform frames


# One vector a medium: of a picture, or the mean of 16 frames of a video (Yu et al. 2022, section 4.2, video retrieval).
MEAN_VECTOR = Feature(
    "vector", lambda encoder, pixels: encoder.encode_pixels(pixels), lambda vectors, _: {"vector": mean_vector(vectors.astype(np.float32))}
)


@dataclass(frozen=True)
class Features:
    """Features of N media, in the cache. `failed`: index of each medium without one -> reason."""

    cache: ResultCache
    space: str
    keys: tuple[bytes, ...]
    failed: dict[int, str]

    def load(self, indices: Iterable[int]) -> list[Arrays]:
        """The arrays of some media, in their order."""
        keys = [self.keys[index] for index in indices]
        found = self.cache.get(self.space, keys)
        return [found[key] for key in keys]

    def vectors(self, indices: Sequence[int] | None = None) -> NDArray[np.float32]:
        """`MEAN_VECTOR` of some media, or of all: float32 (N, E), each row of L2 norm 1."""
        rows = self.load(range(len(self.keys)) if indices is None else indices)
        return np.stack([row["vector"] for row in rows]).astype(np.float32)


class FeatureSource:
    """Computes features of media and texts with one encoder, or takes them from the cache."""

    def __init__(self, encoder: Encoder, cache: ResultCache, *, allow_missing: bool = False, on_progress: OnProgress | None = None) -> None:
        self.encoder, self.cache, self.on_progress = encoder, cache, on_progress or (lambda *_: None)
        self._allow_missing = allow_missing
        self._digest_of: dict[tuple[Path, str], bytes] = {}  # each file is hashed once

    def of_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 (N, E), each row of L2 norm 1."""
        space = space_of(self.encoder, "text")
        key_of = {text: hashlib.sha256(text.encode()).digest() for text in texts}
        known = self.cache.known(space, list(key_of.values()))
        new = [text for text, key in key_of.items() if key not in known]
        for start in range(0, len(new), _TEXTS):
            batch = new[start : start + _TEXTS]
            vectors = zip(batch, self.encoder.encode_texts(batch), strict=True)
            self.cache.put(space, {key_of[text]: {"vector": vector} for text, vector in vectors})
            self.on_progress("texts", start + len(batch), len(new))
        return Features(self.cache, space, tuple(key_of[text] for text in texts), {}).vectors()

    def of_media(self, media: Sequence[Medium], feature: Feature) -> Features:
        """Computes what is not cached. Raises UnreadableMediaError, which names the record, unless missing media are allowed."""
        space, keys = space_of(self.encoder, feature.name), self._digests(media)
        known = self.cache.known(space, keys)
        failed = self._compute({key: medium for key, medium in zip(keys, media, strict=True) if key not in known}, feature, space)
        reasons = {
            index: f"{medium.record}: {medium.name!r} cannot be read: {failed[key].rstrip('.')}."
            for index, (medium, key) in enumerate(zip(media, keys, strict=True))
            if key in failed
        }
        if reasons and not self._allow_missing:
            raise UnreadableMediaError(f"{next(iter(reasons.values()))} Pass --allow-missing to leave such records out.")
        return Features(self.cache, space, tuple(keys), reasons)

    def _compute(self, media: dict[bytes, Medium], feature: Feature, space: str) -> dict[bytes, str]:
        """Compute and cache a feature. Returns media that cannot be read, with the reason. Stops at the first if none may be missing."""
        failed, batch = dict[bytes, str](), dict[bytes, Decoded]()
        with ThreadPoolExecutor(_THREADS) as pool:
            found = decode(list(media.values()), self.encoder, pool, seconds_between=feature.seconds_between)
            for done, (key, decoded) in enumerate(zip(media, found, strict=True), 1):
                if isinstance(decoded, Decoded):
                    batch[key] = decoded
                else:
                    failed[key] = decoded
                    if not self._allow_missing:
                        break
                if sum(len(each.pixels) for each in batch.values()) >= self.encoder.batch_size:
                    self._store(batch, feature, space)
                    batch = {}
                self.on_progress("media", done, len(media))
        self._store(batch, feature, space)
        return failed

    def _store(self, batch: dict[bytes, Decoded], feature: Feature, space: str) -> None:
        if batch:
            values = feature.of_frames(self.encoder, np.concatenate([decoded.pixels for decoded in batch.values()]))
            ends = np.cumsum([len(decoded.pixels) for decoded in batch.values()])
            parts = zip(batch.items(), np.split(values, ends[:-1]), strict=True)
            self.cache.put(space, {key: feature.keep(part, decoded) for (key, decoded), part in parts})

    def _digests(self, media: Sequence[Medium]) -> list[bytes]:
        new = [medium for medium in media if (medium.path, medium.name) not in self._digest_of]
        with ThreadPoolExecutor(_THREADS) as pool:
            for done, (medium, digest) in enumerate(zip(new, pool.map(_digest, new), strict=True), 1):
                self._digest_of[medium.path, medium.name] = digest
                self.on_progress("hashes", done, len(new))
        return [self._digest_of[medium.path, medium.name] for medium in media]


def readable(dataset: DataSet, source: FeatureSource, feature: Feature) -> tuple[DataSet, Features]:
    """The media that can be read, and their features. Raises UnreadableMediaError, unless missing media are allowed."""
    features = source.of_media(dataset.media, feature)
    keys = tuple(key for index, key in enumerate(features.keys) if index not in features.failed)
    return dataset.without(features.failed), Features(features.cache, features.space, keys, {})


def decode(media: Sequence[Medium], encoder: Encoder, pool: Executor, *, seconds_between: float) -> Iterator[Decoded | str]:
    """Each medium in order, as pixels or as the reason why it cannot be read. Pictures are decoded in threads, a few in advance."""
    pending: deque[tuple[Medium, Future[Decoded] | None]] = deque()
    rest = iter(media)
    with VideoDecoder(limit_seconds=_VIDEO_LIMIT_SECONDS, seconds_between=seconds_between) as videos:
        for _ in media:
            for medium in islice(rest, 4 * encoder.batch_size - len(pending)):
                pending.append((medium, pool.submit(_picture, medium, encoder) if medium.kind == "image" else None))
            medium, picture = pending.popleft()
            try:
                yield picture.result() if picture else _video(medium, encoder, videos)
            except MediaError as error:
                yield error.reason
            except OSError as error:
                yield error.strerror or str(error)


def _picture(medium: Medium, encoder: Encoder) -> Decoded:
    picture = open_picture(medium.read(), min_side=encoder.min_side)
    return Decoded(encoder.preprocess(picture)[None], np.zeros(1), 0.0)


def _video(medium: Medium, encoder: Encoder, videos: VideoDecoder) -> Decoded:
    with videos.open(medium.path) as video:
        frames = [(encoder.preprocess(Image.fromarray(frame.pixels)), frame.pts_seconds) for frame in video.frames]
    pixels, seconds = zip(*frames, strict=True)
    return Decoded(np.stack(pixels), np.asarray(seconds, np.float64), video.metadata["duration_seconds"])


def _digest(medium: Medium) -> bytes:
    """SHA-256 of the file, or of its path if it cannot be read. Decoding then reports the error."""
    try:
        return bytes.fromhex(sha256_of_file(medium.path) if medium.data is None else sha256_of_bytes(medium.data))
    except OSError:
        return hashlib.sha256(f"unreadable {medium.path}".encode()).digest()
