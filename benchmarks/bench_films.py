"""Seconds of film per second: `indexer.index` against a loop that samples the same frames with PyAV and embeds them.

The films are of 720p with moving photographs and noise: one with a key frame every two seconds, as phones and cameras write them, and one
with a key frame every ten seconds, as encoders do by default. The loop decodes a film from start to end on all cores, takes the
frames that the indexer takes, and keeps the vectors in memory.
"""

import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.bench_index import PHOTOGRAPHS
from benchmarks.measure.result import Result
from benchmarks.measure.timing import rates, ratios, seconds_of
from coca_model import Encoder, load
from data.make_sample_collection import sample_pictures
from indexer import index
from media import VideoDecoder

SIZE, FRAMES_PER_SECOND, BATCH = (1280, 720), 25, 16
KEY_FRAMES = {"key frames every 2 s": 2, "key frames every 10 s": 10}


def measure(small: bool = False) -> Result:
    """Write films, check that both sides embed the same frames, then time them in turn."""
    length, num_films = (4, 1) if small else (120, 2)
    encoder = load()
    rate: dict[str, dict[str, float]] = {}
    ratio: dict[str, float] = {}
    cosine: dict[str, float] = {}
    for name, seconds_between in KEY_FRAMES.items():
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "films"
            folder.mkdir()
            for number in range(num_films):
                write_film(folder / f"{number}.mp4", length, seconds_between, number)
            seconds, cosine[f"least cosine, {name}"] = compare(folder, encoder, rounds=1 if small else 3)
        rate |= {f"{side}, {name}": found for side, found in rates(seconds, "film_seconds_per_second", length * num_films).items()}
        ratio |= {f"{pair}, {name}": found for pair, found in ratios(seconds, ("index", "PyAV")).items()}
    return Result(
        "films",
        "Seconds of 720p film per second, from H.264 to vectors. The indexer also finds shots, and writes thumbnails and a collection.",
        rate,
        ratio,
        cosine,
        {"films": num_films, "seconds of a film": length},
    )


def compare(folder: Path, encoder: Encoder, *, rounds: int) -> tuple[dict[str, list[float]], float]:
    """Seconds of each side in each round, and the least cosine between the vectors of the two sides."""
    times, cosine = sampled(folder, encoder)
    numbers = count()

    def run() -> None:
        index(folder, collection=folder.with_name(f"collection-{next(numbers)}"), encoder=encoder)

    def loop() -> None:
        for film, chosen in times.items():
            embed(film, chosen, encoder)

    return seconds_of({"index": run, "PyAV": loop}, rounds), cosine


def sampled(folder: Path, encoder: Encoder) -> tuple[dict[Path, list[float]], float]:
    """The times of the frames that the indexer embeds, and how close the loop's vectors of these frames are to its vectors."""
    times, cosines = {}, []
    with VideoDecoder() as decoder:
        for film in sorted(folder.iterdir()):
            with decoder.open(film) as video:
                frames = list(video.frames)
            times[film] = [frame.pts_seconds for frame in frames]
            expected = encoder.encode_pixels(np.stack([encoder.preprocess(Image.fromarray(frame.pixels)) for frame in frames]))
            cosines.append(float((expected * embed(film, times[film], encoder)).sum(1).min()))
    assert min(cosines) > 0.97, cosines
    return times, min(cosines)


def embed(film: Path, times: list[float], encoder: Encoder) -> NDArray[np.float32]:
    """The vectors of the frames at `times`, float32 (N, E), by decoding all frames."""
    pixels = [encoder.preprocess(image) for image in _frames(film, times)]
    return np.concatenate([encoder.encode_pixels(np.stack(pixels[at : at + BATCH])) for at in range(0, len(pixels), BATCH)])


def _frames(film: Path, times: list[float]) -> Iterator[Image.Image]:
    waiting = list(times)
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            if waiting and frame.time is not None and frame.time > waiting[0] - 0.5 / FRAMES_PER_SECOND:
                waiting.pop(0)
                yield frame.to_image(width=456, height=256)


def write_film(path: Path, seconds: int, seconds_between_key_frames: int, seed: int) -> None:
    """A view that moves over photographs, a new one every five seconds."""
    random = np.random.default_rng(seed)
    samples = sample_pictures()
    noise = random.integers(0, 12, (SIZE[1], 2 * SIZE[0], 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options={"preset": "veryfast", "sc_threshold": "0"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.gop_size = seconds_between_key_frames * FRAMES_PER_SECOND
        for number in range(seconds * FRAMES_PER_SECOND):
            shot, step = divmod(number, 5 * FRAMES_PER_SECOND)
            if step == 0:
                wide = np.asarray(samples[PHOTOGRAPHS[(shot + seed) % len(PHOTOGRAPHS)]].resize((2 * SIZE[0], SIZE[1])))
            left, shift = 4 * step, int(random.integers(0, SIZE[0]))
            pixels = np.maximum(wide[:, left : left + SIZE[0]], noise[:, shift : shift + SIZE[0]])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
        container.mux(stream.encode())
