"""Films of moving scenes with known cuts, for the tests of cuts and shots."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 25
SIZE = 64, 48


def scene(seed, *, speed=1.0):
    """A function from seconds to a frame: a view that wanders over large coloured noise, like a moving camera."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (12, 24, 3)).astype(np.float32)
    ground = np.repeat(np.repeat(coarse, 8, 0), 16, 1)  # (96, 384, 3)

    def at(seconds):
        room = ground.shape[1] - SIZE[0]
        left = round(room - abs(seconds * speed * 10 % (2 * room) - room))
        return ground[24 : 24 + SIZE[1], left : left + SIZE[0]] + rng.normal(0, 3, (SIZE[1], SIZE[0], 1))

    return at


def plain(colour):
    return lambda seconds: np.full((SIZE[1], SIZE[0], 3), colour, np.float32)


def joined(*parts):
    """Scenes one after the other. `parts`: (scene, seconds)."""

    def at(seconds):
        start = 0.0
        for view, length in parts[:-1]:
            if seconds < start + length - 1e-6:
                return view(seconds - start)
            start += length
        return parts[-1][0](seconds - start)

    return at


def dissolved(first, second, *, middle, length=1.0):
    """One scene that turns into another around a time."""

    def at(seconds):
        share = np.clip((seconds - middle) / length + 0.5, 0, 1)
        return first(seconds) * (1 - share) + second(seconds) * share

    return at


def faded(first, second, *, middle, length=1.6):
    """One scene that becomes black, and another that comes out of the black."""
    return lambda seconds: (first if seconds < middle else second)(seconds) * min(1.0, abs(seconds - middle) * 2 / length)


def flashed(view, *, at, length=0.08):
    return lambda seconds: view(seconds) * 0.2 + 200 if at <= seconds + 1e-6 < at + length else view(seconds)


def write_scenes(path: Path, view, seconds: float, *, rate: int = RATE, codec: str = "libx264", **codec_options: str) -> Path:
    """Write what `view` gives for each time."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=codec_options)
        stream.width, stream.height = SIZE
        stream.bit_rate = 4_000_000
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(round(seconds * rate)):
            pixels = np.clip(view(number / rate), 0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
