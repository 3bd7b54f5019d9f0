"""What the embedded checkpoint is trained on: captioned and labelled pictures in Parquet, and sentences alone.

The stem is frozen, so its map of a picture never changes: several augmented views of each picture are run through it
once and kept on disk as bytes (ReLU6 bounds them to 0..6), which makes an epoch cost only the small towers.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from coca_model.config import ImageConfig
from coca_model.errors import PictureError, TrainingError
from coca_model.image_tower import ImageTower
from coca_model.preprocess import open_picture, to_square
from coca_model.tokenizer import clean_text

MAP_RANGE = 6.0  # ReLU6
_STEM_BATCH = 16  # activations that stay in the cache
_PREFIX = {"label": "a photo of a ", "unlabelled": "", "caption": ""}


@dataclass(frozen=True)
class Example:
    """One picture: `texts` describe it (none where it is unlabelled); `picture` holds the encoded bytes."""

    source: str
    split: str
    kind: str
    texts: tuple[str, ...]
    picture: bytes


@dataclass(frozen=True)
class Views:
    """Stem maps of several views of each example.

    maps: uint8 (V, P, C), 0..255 for 0..6. example: int64 (V,), the example each view shows.
    """

    maps: NDArray[np.uint8]
    example: NDArray[np.int64]

    def features(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """bfloat16 (B, P, C) of the given views."""
        return torch.from_numpy(self.maps[rows]).to(torch.bfloat16) * (MAP_RANGE / 255.0)


def read_examples(folder: Path) -> list[Example]:
    """All rows of the Parquet files in `folder`, in a fixed order. Raises TrainingError where there are none."""
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise TrainingError(f"{folder}: no .parquet file. Expected files with the columns source, split, kind, texts and image.")
    return [example for file in files for example in _read_parquet(file)]


def _read_parquet(file: Path) -> Iterator[Example]:
    columns = ["source", "split", "kind", "texts", "image"]
    for row in pq.read_table(file, columns=columns).to_pylist():
        texts = tuple(clean_text(_PREFIX.get(row["kind"], "") + text) for text in row["texts"])
        yield Example(row["source"], row["split"], row["kind"], texts, row["image"])


def make_views(
    examples: Sequence[Example],
    views_per_source: dict[str, int],
    *,
    tower: ImageTower,
    folder: Path,
    dtype: torch.dtype,
    default_views: int = 1,
) -> Views:
    """Run every view through the frozen stem, or take the maps from `folder` where an earlier run left them whole."""
    counts = [views_per_source.get(example.source, default_views) for example in examples]
    owner = np.repeat(np.arange(len(examples)), counts)
    number = np.concatenate([np.arange(count) for count in counts])
    channels = 1280
    sizes = [len(example.picture) for example in examples]
    key = hashlib.sha256(json.dumps([counts, sizes, tower.config.image_size, tower.config.stem]).encode()).hexdigest()[:16]
    done, path = folder / f"{key}.done", folder / f"{key}.u8"
    shape = (len(owner), tower.config.num_patches, channels)
    folder.mkdir(parents=True, exist_ok=True)
    if not done.exists():
        maps = np.memmap(path, np.uint8, "w+", shape=shape)
        _fill(maps, examples, owner, number, tower, dtype)
        maps.flush()
        done.touch()
    return Views(np.fromfile(path, np.uint8).reshape(shape), owner)  # in memory: batches are drawn from all over


def _fill(
    maps: NDArray[np.uint8],
    examples: Sequence[Example],
    owner: NDArray[np.int64],
    number: NDArray[np.int64],
    tower: ImageTower,
    dtype: torch.dtype,
    batch: int = 64,
) -> None:
    tower = tower.to(dtype=dtype, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    starts = range(0, len(owner), batch)

    def pixels(start: int) -> NDArray[np.uint8]:
        rows = range(start, min(start + batch, len(owner)))
        return np.stack([view(examples[owner[row]].picture, int(number[row]), row, tower.config) for row in rows])

    with ThreadPoolExecutor(1) as pool, torch.inference_mode():
        ahead = pool.submit(pixels, 0)
        for start in starts:
            current = ahead.result()
            if start + batch < len(owner):
                ahead = pool.submit(pixels, start + batch)
            features = torch.cat([tower.stem_map(part) for part in torch.from_numpy(current).split(_STEM_BATCH)]).float()
            maps[start : start + batch] = (features * (255.0 / MAP_RANGE)).round().clamp(0, 255).to(torch.uint8).numpy()
            if start % (batch * 50) == 0:
                print(f"views {start}/{len(owner)}", flush=True)


def view(picture: bytes, number: int, seed: int, config: ImageConfig) -> NDArray[np.uint8]:
    """View `number` of a picture: 0 is what inference sees, the others are random crops, flips and colours."""
    try:
        image = open_picture(picture)
    except PictureError:
        image = Image.new("RGB", (config.image_size, config.image_size), "grey")
    if number == 0:
        return to_square(image, config)
    random = np.random.default_rng((seed, number))
    area, ratio = random.uniform(0.4, 1.0), np.exp(random.uniform(np.log(0.75), np.log(4 / 3)))
    width = min(image.width, image.width * np.sqrt(area * ratio))
    height = min(image.height, image.height * np.sqrt(area / ratio))
    left, top = random.uniform(0, image.width - width), random.uniform(0, image.height - height)
    size = (config.image_size, config.image_size)
    image = image.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
    if random.random() < 0.5:
        image = ImageOps.mirror(image)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(random.uniform(0.8, 1.2))
    return np.asarray(image, dtype=np.uint8)
