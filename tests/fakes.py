"""A deterministic fake encoder and generated media, for tests of the collection, the indexer and the service."""

import datetime
import hashlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
from PIL import Image

from media import open_picture
from search import Hit

WIDTH = 48
COLOURS = {
    "red": (220, 20, 20),
    "green": (20, 180, 40),
    "blue": (20, 40, 220),
    "yellow": (230, 220, 30),
    "black": (5, 5, 5),
    "white": (250, 250, 250),
}


@dataclass
class FakeConfig:
    embedding_width: int = WIDTH


class FakeEncoder:
    """Encodes colours. A picture's vector is its 4x4 thumbnail. A colour name has the vector of that colour; other texts are hashed."""

    min_side = 64
    dtype, device, batch_size, logit_scale = "float32", SimpleNamespace(type="cpu"), 4, 10.0

    def __init__(self, model_id="fake@1", preprocessing_id="fake-4", embedding_width=WIDTH):
        self.model_id, self.preprocessing_id = model_id, preprocessing_id
        self.config = FakeConfig(embedding_width)

    def preprocess(self, picture):
        return np.asarray(open_picture(picture).resize((4, 4), Image.Resampling.BOX))

    def encode_pixels(self, pixels):
        vectors = pixels.reshape(len(pixels), -1).astype(np.float32) - 128
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)

    def encode_images(self, images):
        return self.encode_pixels(np.stack([self.preprocess(image) for image in images]))

    def encode_texts(self, texts):
        return np.concatenate([self._text(text) for text in texts])

    def _text(self, text):
        if text in COLOURS:
            return self.encode_images([Image.new("RGB", (8, 8), COLOURS[text])])
        digest = hashlib.blake2b(text.encode(), digest_size=WIDTH).digest()
        return self.encode_pixels(np.frombuffer(digest, np.uint8)[None])


def write_picture(path: Path, colour: str = "red", size: tuple[int, int] = (96, 64), **save) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, COLOURS[colour]).save(path, **save)
    return path


def write_film(
    path: Path,
    shots: list[tuple[str, float]],
    *,
    fps: int = 10,
    size: tuple[int, int] = (128, 96),
    codec: str = "libx264",
    starts_at: float = 0.0,
) -> Path:
    """Write a video whose shots are plain colours. `shots` holds (colour, seconds). Its times begin at `starts_at` seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number = round(starts_at * fps)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for colour, seconds in shots:
            for _ in range(round(seconds * fps)):
                frame = av.VideoFrame.from_image(Image.new("RGB", size, COLOURS[colour]))
                frame.pts, frame.time_base = number, Fraction(1, fps)
                container.mux(stream.encode(frame))
                number += 1
        container.mux(stream.encode())
    return path


def turn_film(path: Path, degrees_clockwise: int) -> None:
    """Set the rotation in the track header of an MP4, as a phone does when held upright."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4
    version = data[at]
    matrix = at + 4 + (32 if version else 20) + 16
    one, zero, minus = (0x10000).to_bytes(4, "big"), bytes(4), (-0x10000).to_bytes(4, "big", signed=True)
    a, b, c, d = {90: (zero, one, minus, zero), 180: (minus, zero, zero, minus), 270: (zero, minus, one, zero)}[degrees_clockwise]
    data[matrix : matrix + 8], data[matrix + 12 : matrix + 20] = a + b, c + d
    path.write_bytes(bytes(data))


COMPARED = ("uri", "kind", "start_seconds", "end_seconds", "segment_id", "media_id", "sha256")


def rows_of(collection, columns=COMPARED, where=None):
    """Rows of a collection with their vectors, sorted by id. The default columns leave out times of indexing."""
    snapshot = collection.snapshot
    ids = snapshot.segment_ids if where is None else np.sort(snapshot.filtered(where))
    vectors = dict(zip(ids.tolist(), snapshot.vectors_of(ids).tolist(), strict=True))
    names = dict.fromkeys(["segment_id", *columns])
    return [{name: row[name] for name in names} | {"vector": vectors[row["segment_id"]]} for row in snapshot.rows(ids)]


def a_hit(**values):
    """A picture hit; `values` override its defaults."""
    columns = {"uri": "/a.jpg", "root_id": "1", "path": "a.jpg", "size_bytes": 1, "mtime": 0.0, "sha256": "0" * 64, "kind": "image"}
    when = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    numbers = {"media_id": 7, "segment_id": 7 << 20, "width": 100, "height": 100, "similarity": 0.5, "indexed_at": when}
    return Hit(**{**columns, **numbers, **values})
