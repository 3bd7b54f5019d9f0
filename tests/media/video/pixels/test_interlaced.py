"""Interlaced films are shown without the comb of a second picture."""

from fractions import Fraction

import av
import numpy as np
import pytest

from media.video.film import read_film
from media.video.messages import Request, VideoFrame

WIDTH, HEIGHT = 320, 576
FRAMES = 25


def bar(at):
    """uint8 (H, W, 3): a white bar that starts at column `at`."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:, at : at + 40] = 255
    return picture


@pytest.mark.parametrize(("codec", "pix_fmt"), [("mpeg2video", "yuv420p"), ("dvvideo", "yuv420p"), ("prores_ks", "yuv422p10le")])
def test_of_an_interlaced_frame_one_picture_is_shown(tmp_path, codec, pix_fmt):
    size = (720, 576) if codec == "dvvideo" else (WIDTH, HEIGHT)
    with av.open(str(tmp_path / "film.mov"), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"flags": "+ilme+ildct", "g": "5"})
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.bit_rate = 20_000_000
        for number in range(FRAMES):
            woven = bar(4 * number)
            woven[1::2] = bar(4 * number + 20)[1::2]  # moved, half a frame later
            woven = np.pad(woven, ((0, 0), (0, size[0] - WIDTH), (0, 0)))
            frame = av.VideoFrame.from_ndarray(woven, format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    frames = [reply for reply in read_film(Request(str(tmp_path / "film.mov"))) if isinstance(reply, VideoFrame)]
    assert len(frames) >= 5
    for frame in frames:
        lines = frame.pixels[..., 1].astype(int)
        assert np.abs(np.diff(lines, axis=0)).mean() < 0.5  # all lines are alike
        first = np.argmax(lines[len(lines) // 2] > 128) * size[0] / lines.shape[1]
        assert first == pytest.approx(4 * 25 * frame.pts_seconds, abs=6)
