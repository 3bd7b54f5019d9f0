"""Animated pictures as films."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from media.pictures.animation import read_animation
from tests.rare_pictures import encoded

FORMATS = ["GIF", "WEBP", "PNG", "AVIF"]


def grey(level, size=(40, 30)):
    """A picture of two tones, so that it is not blank."""
    picture = Image.new("RGB", size, (level, level, level))
    picture.paste((255, 0, 0), (0, 0, 8, 30))
    return picture


def animated(file_format, frames, durations, **options):
    options = {"lossless": True, **options} if file_format == "WEBP" else options
    return encoded(frames[0], file_format, save_all=True, append_images=frames[1:], duration=durations, **options)


def frames_of(data):
    video = read_animation(io.BytesIO(data))
    return video.metadata, [(frame.pts_seconds, frame.pixels) for frame in video.frames]


@pytest.mark.parametrize("file_format", FORMATS)
def test_frames_come_with_the_times_of_the_file(file_format):
    levels, durations = [20, 80, 140, 200], [100, 500, 1400, 40]
    metadata, frames = frames_of(animated(file_format, [grey(level) for level in levels], durations))
    assert metadata["duration_seconds"] == pytest.approx(2.04)
    assert (metadata["width"], metadata["height"]) == (40, 30)
    assert [seconds for seconds, _ in frames] == pytest.approx([0, 0.1, 0.6, 2.0])
    for (_, pixels), level in zip(frames, levels, strict=True):
        np.testing.assert_allclose(pixels[10:20, 20:30], level, atol=6)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG"])
@pytest.mark.parametrize("stated", [0, 10])
def test_a_frame_without_a_length_is_shown_for_a_tenth_of_a_second_as_in_browsers(file_format, stated):
    metadata, frames = frames_of(animated(file_format, [grey(20), grey(90), grey(150)], stated))
    assert metadata["duration_seconds"] == pytest.approx(0.3)
    assert [seconds for seconds, _ in frames] == pytest.approx([0, 0.1, 0.2])


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_long_animation_gives_one_frame_a_second(file_format):
    levels = [index * 2 for index in range(100)]
    _, frames = frames_of(animated(file_format, [grey(level) for level in levels], 500))
    assert [seconds for seconds, _ in frames] == pytest.approx([index + 0.5 for index in range(50)])
    for seconds, pixels in frames[::7]:
        np.testing.assert_allclose(pixels[15, 25], levels[round(seconds * 2)], atol=8)


def test_frames_are_composed_as_a_browser_does():
    """The second frame of a GIF changes a part, and the third removes it again."""
    base, part = Image.new("RGBA", (20, 20), "blue"), Image.new("RGBA", (20, 20), "blue")
    base.paste("white", (0, 0, 20, 4))
    part.paste("white", (0, 0, 20, 4))
    part.paste("red", (5, 5, 10, 10))
    for disposal in (0, 1, 2, 3):
        data = encoded(base, "GIF", save_all=True, append_images=[part, base], duration=100, disposal=disposal)
        shown = [pixels[7, 7].tolist() for _, pixels in frames_of(data)[1]]
        assert shown == [[0, 0, 255], [255, 0, 0], [0, 0, 255]], disposal


@pytest.mark.parametrize("file_format", ["WEBP", "PNG"])
def test_transparent_pixels_are_white(file_format):
    frames = [Image.new("RGBA", (20, 20), (0, 0, 0, 0)) for _ in range(2)]
    for index, frame in enumerate(frames):
        frame.paste((0, 200, 0, 255), (0, 0, 5 + index * 5, 20))
    for _, pixels in frames_of(animated(file_format, frames, 100))[1]:
        assert pixels[10, 15].tolist() == [255, 255, 255]


@pytest.mark.parametrize("file_format", FORMATS)
def test_blank_frames_at_the_start_are_left_out(file_format):
    frames = [Image.new("RGB", (40, 30), "white"), Image.new("RGB", (40, 30), (250, 250, 250)), grey(100), grey(160)]
    assert [seconds for seconds, _ in frames_of(animated(file_format, frames, 100))[1]] == pytest.approx([0.2, 0.3])


def test_an_animation_of_plain_colours_gives_one_frame():
    assert len(frames_of(animated("GIF", [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")], 100))[1]) == 1


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_single_frame_is_a_picture(file_format):
    assert read_animation(io.BytesIO(animated(file_format, [grey(9)], 100))) is None


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF", "MPO", "ICO"])
def test_several_pages_are_no_animation(file_format):
    frames = [grey(9), grey(90)]
    data = encoded(frames[0], file_format, **({} if file_format in {"ICO", "JPEG"} else {"save_all": True, "append_images": frames[1:]}))
    assert read_animation(io.BytesIO(data)) is None


def test_the_default_picture_of_an_apng_is_not_a_part_of_it():
    data = animated("PNG", [grey(5), grey(100), grey(200)], 100, default_image=True)
    metadata, frames = frames_of(data)
    assert metadata["duration_seconds"] == pytest.approx(0.2)
    assert [int(pixels[15, 25, 0]) for _, pixels in frames] == [100, 200]


@pytest.mark.parametrize("file_format", ["WEBP", "PNG"])
def test_an_orientation_turns_every_frame(file_format):
    exif = Image.Exif()
    exif[0x0112] = 6
    metadata, frames = frames_of(animated(file_format, [grey(9), grey(90)], 100, exif=exif))
    assert (metadata["width"], metadata["height"]) == (30, 40)
    assert {pixels.shape for _, pixels in frames} == {(40, 30, 3)}


def test_large_frames_are_made_small():
    _, frames = frames_of(animated("GIF", [grey(9, (800, 600)), grey(90, (800, 600))], 100))
    assert {pixels.shape for _, pixels in frames} == {(256, 341, 3)}


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP"])
def test_a_cut_animation_ends_earlier_and_is_damaged(file_format):
    noise = np.random.default_rng(0).integers(0, 256, (10, 30, 40, 3), dtype=np.uint8)
    data = animated(file_format, [Image.fromarray(frame) for frame in noise], 100)
    metadata, frames = frames_of(data[: len(data) * 6 // 10])
    assert metadata["damaged"]
    assert 4 <= len(frames) <= 8
    assert "damaged" not in frames_of(data)[0]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the peak of memory there")
def test_frames_are_not_kept_in_memory():
    frames = [grey(level, (800, 600)) for level in (9, 90, 200)]
    start, *blocks = animated("GIF", frames, 100)[:-1].split(b"!\xf9\x04")
    data = b"!\xf9\x04".join([start, *blocks * 80]) + b";"
    program = (
        "import io, sys; from media.pictures.animation import read_animation\n"
        "video = read_animation(io.BytesIO(sys.stdin.buffer.read()))\n"
        "print(sum(1 for _ in video.frames), open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", program], input=data, capture_output=True, check=True)
    count, kibibytes = map(int, done.stdout.split())
    assert count == 24
    assert kibibytes < 250 * 1024  # 240 frames would be 460 MB
