"""Pictures per second of `indexer.index`, against the limit of this machine, and against the plain loop that a user would write.

The limit does only what cannot be avoided: it decodes the same files, reads their metadata, makes thumbnails and vectors, with one thread
on each core, and keeps everything in memory. The loop does the same, one file after the other, with the model on all cores. The indexer
also hashes each file, writes thumbnails, and commits rows and a snapshot to disk. The pictures are crops of sample photographs, with
sensor noise. So their JPEG files are as large and as slow to decode as photos. The files are in the page cache on all sides.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageOps

from benchmarks.measure.result import Result
from benchmarks.measure.timing import rates, ratios, seconds_of
from coca_model import Encoder, load
from coca_model.machine import num_cpus, share_cpus
from data.make_sample_collection import sample_pictures
from indexer import index
from media import make_thumbnail, read_picture
from search import open_collection
from search.schema import KINDS

SMALL = 6
BATCH = 32  # like the indexer
DIFFERENT = 32  # pictures; the others are copies of them
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "motorcycle", "china", "flower")
SIZES = {"500 x 375": ((500, 375), 2048), "12 megapixels": ((4000, 3000), 96)}  # width and height, and how many

Vectors = dict[str, NDArray[np.float32]]  # by file


@dataclass(frozen=True)
class Library:
    """A folder of pictures, and the collections that were made of it."""

    folder: Path
    encoder: Encoder
    collections: list[Path] = field(default_factory=list)

    def first_run(self) -> None:
        self.collections.append(self.folder.with_name(f"{self.folder.name}-{len(self.collections)}"))
        index(self.folder, collection=self.collections[-1], encoder=self.encoder)

    def second_run(self) -> None:
        index(self.folder, collection=self.collections[-1], encoder=self.encoder)

    def plain_loop(self) -> Vectors:
        """One step after the other."""
        return dict(_batches(iter(sorted(self.folder.iterdir())), self.encoder))

    def limit(self) -> Vectors:
        """Each core decodes and embeds files of its own."""
        files = iter(sorted(self.folder.iterdir()))  # of a list: threads may share it
        with share_cpus(num_cpus()) as take_share, ThreadPoolExecutor(num_cpus(), initializer=take_share) as pool:
            parts = list(pool.map(lambda _: list(_batches(files, self.encoder)), range(num_cpus())))
        return dict(pair for part in parts for pair in part)

    def sides(self) -> dict[str, Callable[[], object]]:
        return {"limit": self.limit, "index": self.first_run, "plain loop": self.plain_loop, "index, nothing changed": self.second_run}


def measure(small: bool = False) -> Result:
    """Write pictures, check that all sides give the same vectors, then time them in turn."""
    encoder = load()
    rate: dict[str, dict[str, float]] = {}
    ratio: dict[str, float] = {}
    cosine: dict[str, float] = {}
    for name, (size, full) in SIZES.items():
        count = SMALL if small else full
        with tempfile.TemporaryDirectory() as temporary:
            library = Library(Path(temporary) / "pictures", encoder)
            write_photographs(library.folder, count, (size[0] // 8, size[1] // 8) if small else size)
            library.first_run()
            cosine[f"least cosine, {name}"] = min(
                _least_cosine(library.collections[-1], expected) for expected in (library.plain_loop(), library.limit())
            )
            seconds = seconds_of(library.sides(), 1 if small else 3)
        rate |= {f"{side}, {name}": found for side, found in rates(seconds, "pictures_per_second", count).items()}
        pairs = ("index", "limit"), ("index", "plain loop"), ("index, nothing changed", "index")
        ratio |= {f"{pair}, {name}": found for pair, found in ratios(seconds, *pairs).items()}
    return Result(
        "index",
        "Pictures per second from JPEG files to vectors. The limit decodes and embeds the same files on all cores, and stores nothing.",
        rate,
        ratio,
        cosine,
        {f"pictures of {name}": SMALL if small else count for name, (_, count) in SIZES.items()},
    )


def _batches(files: Iterator[Path], encoder: Encoder) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Each file with its vector, float32 (E,). Metadata and thumbnails are made, too, and dropped."""
    while batch := list(islice(files, BATCH)):
        pixels = []
        for file in batch:
            picture = read_picture(file.read_bytes(), min_side=encoder.min_side)
            make_thumbnail(picture.image)
            pixels.append(encoder.preprocess(picture.image))
        yield from zip(map(str, batch), encoder.encode_pixels(np.stack(pixels)), strict=True)


def write_photographs(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write `count` JPEG files of quality 85, of which `DIFFERENT` differ."""
    folder.mkdir()
    random = np.random.default_rng(0)
    noise = Image.fromarray(random.normal(128, 5, (size[1], size[0], 3)).clip(0, 255).astype(np.uint8))
    samples = sample_pictures()
    for number in range(min(count, DIFFERENT)):
        picture = _crop(samples[PHOTOGRAPHS[number % len(PHOTOGRAPHS)]], size, random)
        shifted = ImageChops.offset(noise, *(int(shift) for shift in random.integers(0, size)))
        ImageChops.add(picture, shifted, offset=-128).save(folder / f"{number:05}.jpg", quality=85)
    for number in range(DIFFERENT, count):
        shutil.copy(folder / f"{number % DIFFERENT:05}.jpg", folder / f"{number:05}.jpg")


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
