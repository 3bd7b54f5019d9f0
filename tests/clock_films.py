"""Films whose frames show their number: black and white blocks, as binary digits. So a test can tell which frame it got."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE = 64, 48
_COLUMNS, _ROWS = 4, 2
RATE = 25


def drawn(number, size=SIZE):
    """uint8 (H, W, 3): the number's eight binary digits, four in a row."""
    digits = np.array([number >> bit & 1 for bit in range(_COLUMNS * _ROWS)], np.uint8).reshape(_ROWS, _COLUMNS)
    width, height = size
    blocks = np.repeat(np.repeat(digits, height // _ROWS, 0), width // _COLUMNS, 1) * 220 + 18
    return np.repeat(blocks[..., None], 3, 2).astype(np.uint8)


def number_in(pixels):
    """The number that a frame shows."""
    height, width, _ = pixels.shape
    blocks = pixels[: height // _ROWS * _ROWS, : width // _COLUMNS * _COLUMNS].mean(2)
    means = blocks.reshape(_ROWS, height // _ROWS, _COLUMNS, width // _COLUMNS).mean((1, 3))
    return sum(1 << bit for bit, mean in enumerate(means.reshape(-1)) if mean > 128)


def write_clock(
    path: Path,
    codec: str = "libx264",
    *,
    frames: Sequence[int] | int = 100,
    at: Sequence[int] | None = None,
    start: int = 0,
    format: str | None = None,  # noqa: A002 PyAV's name
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = SIZE,
    codec_options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write a film of `RATE` frames a second. `at`: the times of the frames, in frames; `start`: added to all of them."""
    numbers = range(frames) if isinstance(frames, int) else frames
    with av.open(str(path), "w", format=format, container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=RATE, options=codec_options or {})
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        if codec != "libsvtav1":
            stream.bit_rate = 1_000_000
        for index, number in enumerate(numbers):
            frame = av.VideoFrame.from_ndarray(drawn(number, size), format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = start + (index if at is None else at[index]), Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def copied(source: Path, target: Path, *, shift: float = 0.0) -> Path:
    """Copy the packets of a film into another container, with their times moved by `shift` seconds."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size:
                moved = round(shift / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts + moved, packet.dts + moved, stream
                new.mux(packet)
    return target
