"""Pictures per second of `indexer.index`, against the plain loop that a user would write with the same encoder.

The loop opens and prepares one file after the other, encodes 32 at a time and keeps the vectors in memory. The indexer decodes in parallel
with the model. It also hashes each file, reads its metadata, writes a thumbnail, and commits rows and a snapshot to disk.
The pictures are crops of sample photographs, enlarged to the size of a camera's and with sensor noise. So their JPEG files are as large
and as slow to decode as photos. The files are in the page cache on both sides.
"""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageOps

from benchmarks.measure.result import Result
from benchmarks.measure.timing import rates, ratio, seconds_of
from coca_model import Encoder, load
from data.make_sample_collection import sample_pictures
from indexer import index
from search import open_collection
from search.schema import KINDS

BATCH = 32  # like the indexer
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "motorcycle", "china", "flower")


def measure(small: bool = False) -> Result:
    """Write pictures, check that both sides give the same vectors, then time them in turn."""
    pictures, rounds, size = (6, 1, (160, 120)) if small else (128, 4, (1600, 1200))
    encoder = load()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "pictures"
        write_photographs(folder, pictures, size)
        collections: list[Path] = []

        def first_run() -> None:
            collections.append(Path(temporary) / f"collection-{len(collections)}")
            index(folder, collection=collections[-1], encoder=encoder)

        first_run()
        cosine = _least_cosine(collections[-1], plain_loop(folder, encoder))
        sides = {
            "index": first_run,
            "plain loop": lambda: plain_loop(folder, encoder),
            "index, nothing changed": lambda: index(folder, collection=collections[-1], encoder=encoder),
        }
        seconds = seconds_of(sides, rounds)
        size_bytes = sum(file.stat().st_size for file in folder.iterdir()) // pictures
    return Result(
        "index",
        f"Pictures per second from JPEG files of {size[0]} x {size[1]} to vectors. The indexer also writes a collection.",
        rates(seconds, "pictures_per_second", pictures),
        {
            "index to plain loop": ratio(seconds, "index", "plain loop"),
            "nothing changed to first run": ratio(seconds, "index, nothing changed", "index"),
        },
        {"least cosine": cosine},
        {"pictures": pictures, "bytes of a picture": size_bytes},
    )


def plain_loop(folder: Path, encoder: Encoder) -> dict[str, NDArray[np.float32]]:
    """File -> vector, float32 (E,), one step after the other."""
    files = sorted(folder.iterdir())
    vectors: list[NDArray[np.float32]] = []
    for start in range(0, len(files), BATCH):
        vectors += [*encoder.encode_pixels(np.stack([encoder.preprocess(file) for file in files[start : start + BATCH]]))]
    return dict(zip(map(str, files), vectors, strict=True))


def write_photographs(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write `count` different JPEG files of quality 85."""
    folder.mkdir()
    random = np.random.default_rng(0)
    noise = Image.fromarray(random.normal(128, 5, (size[1], size[0], 3)).clip(0, 255).astype(np.uint8))
    samples = sample_pictures()
    for number in range(count):
        picture = _crop(samples[PHOTOGRAPHS[number % len(PHOTOGRAPHS)]], size, random)
        shifted = ImageChops.offset(noise, *(int(shift) for shift in random.integers(0, size)))
        ImageChops.add(picture, shifted, offset=-128).save(folder / f"{number:05}.jpg", quality=85)


def _crop(picture: Image.Image, size: tuple[int, int], random: np.random.Generator) -> Image.Image:
    """A random crop of the picture, resized to `size`, and mirrored half of the time."""
    scale = random.uniform(0.6, 1) * min(picture.width / size[0], picture.height / size[1])
    width, height = size[0] * scale, size[1] * scale
    left, top = random.uniform(0, picture.width - width), random.uniform(0, picture.height - height)
    piece = picture.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
    return ImageOps.mirror(piece) if random.random() < 0.5 else piece


def _least_cosine(collection: Path, expected: dict[str, NDArray[np.float32]]) -> float:
    snapshot = open_collection(collection).snapshot
    ids, vectors = snapshot.vectors(KINDS)
    indexed = dict(zip((row["uri"] for row in snapshot.rows(ids)), vectors, strict=True))
    assert indexed.keys() == expected.keys(), "the collection and the loop have different files"
    cosine = min(float(np.dot(vector, expected[uri])) for uri, vector in indexed.items())
    assert cosine > 0.9999, cosine
    return cosine
