"""Decoding of real films, broken films, and decoders that crash or hang."""

import sys
import time
from fractions import Fraction

import av
import numpy as np
import pytest

from indexer import pyav_reader
from indexer.errors import MediaError
from indexer.video import VideoDecoder
from indexer.video_protocol import Facts, FrameReply
from tests.fakes import COLOURS, turn_film, write_film


@pytest.fixture
def decoder():
    decoder = VideoDecoder(limit_seconds=60)
    yield decoder
    decoder.close()


def frames_of(decoder, path):
    facts, *frames = decoder.frames(str(path))
    assert isinstance(facts, Facts)
    return facts.facts, frames


def colour_at(frame):
    mean = frame.frame.reshape(-1, 3).mean(0)
    return min(COLOURS, key=lambda name: np.abs(mean - COLOURS[name]).sum())


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "libx264"), (".avi", "mpeg4"), (".webm", "libvpx-vp9"), (".mkv", "libx264")])
def test_each_sampled_frame_is_what_is_shown_at_its_time(tmp_path, decoder, suffix, codec):
    film = write_film(tmp_path / f"film{suffix}", [("red", 3.0), ("green", 2.0), ("blue", 4.0)], codec=codec)
    facts, frames = frames_of(decoder, film)
    assert facts.duration_seconds == pytest.approx(9.0, abs=0.11)
    assert len(frames) == 16
    wanted = ["red" if f.pts_seconds < 2.95 else "green" if f.pts_seconds < 4.95 else "blue" for f in frames]
    assert [colour_at(frame) for frame in frames] == wanted


def test_times_agree_with_the_timestamps_in_the_file(tmp_path, decoder):
    film = write_film(tmp_path / "film.mp4", [("red", 2.0), ("blue", 2.0)])
    with av.open(str(film)) as container:
        real = [frame.time for frame in container.decode(video=0)]
    _, frames = frames_of(decoder, film)
    assert all(min(abs(frame.pts_seconds - time) for time in real) < 1e-3 for frame in frames)


@pytest.mark.parametrize(("turn", "red_side"), [(90, "top"), (180, "right"), (270, "bottom")])
def test_a_film_taken_upright_is_shown_upright_by_either_library(tmp_path, decoder, turn, red_side):
    film = tmp_path / "film.mp4"
    write_half_film(film)  # red on the left
    turn_film(film, turn)
    facts, frames = frames_of(decoder, film)
    assert (facts.width, facts.height) == ((128, 96) if turn == 180 else (96, 128))
    for frame in (frames[0].frame, next(pyav_reader.read_frames(str(film), [0.0]))[1]):
        height, width, _ = frame.shape
        assert (width, height) == (facts.width, facts.height)
        sides = {"top": frame[:20], "bottom": frame[-20:], "left": frame[:, :20], "right": frame[:, -20:]}
        redness = {side: float(pixels[..., 0].mean() - pixels[..., 2].mean()) for side, pixels in sides.items()}
        assert max(redness, key=redness.get) == red_side


def write_half_film(path):
    """Left half red, right half blue."""
    pixels = np.zeros((96, 128, 3), np.uint8)
    pixels[:, :64], pixels[:, 64:] = COLOURS["red"], COLOURS["blue"]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_what_decord_cannot_open_comes_from_pyav(tmp_path, decoder):
    film = write_film(tmp_path / "film.mp4", [("red", 1.0), ("blue", 1.0)], codec="libsvtav1")
    _, frames = frames_of(decoder, film)
    assert {colour_at(frame) for frame in frames} == {"red", "blue"}


@pytest.mark.parametrize("content", [b"", b"not a film at all", b"\0" * 5000], ids=["empty", "text", "zeros"])
def test_a_file_that_is_no_film_says_so(tmp_path, decoder, content):
    (tmp_path / "film.mp4").write_bytes(content)
    with pytest.raises(MediaError, match="not a video that can be read"):
        list(decoder.frames(str(tmp_path / "film.mp4")))


def test_a_truncated_film_gives_the_frames_it_holds_and_the_next_one_works(tmp_path, decoder):
    whole = write_film(tmp_path / "whole.mkv", [("red", 3.0), ("blue", 3.0)])
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert any(isinstance(reply, FrameReply) for reply in decoder.frames(str(cut)))
    assert len(frames_of(decoder, whole)[1]) == 16


CRASHING = """
import os, sys
from indexer import video_worker as worker
answer = worker._answer
def crash(request, replies):
    if request.backend == "decord":
        os.abort()
    answer(request, replies)
worker._answer = crash
worker.main()
"""
HANGING = CRASHING.replace("os.abort()", "import time; time.sleep(1000)")
NEVER = CRASHING.replace('request.backend == "decord"', "True")


@pytest.mark.parametrize("script", [CRASHING, HANGING], ids=["crash", "hang"])
def test_a_decoder_that_crashes_or_hangs_is_replaced_and_pyav_takes_over(tmp_path, script):
    film = write_film(tmp_path / "film.mp4", [("red", 2.0)])
    decoder = VideoDecoder(limit_seconds=8, command=(sys.executable, "-c", script))
    try:
        assert [colour_at(frame) for frame in frames_of(decoder, film)[1]] == ["red"] * 16
    finally:
        decoder.close()


def test_a_film_that_kills_both_decoders_is_a_failure_that_names_the_signal(tmp_path):
    film = write_film(tmp_path / "film.mp4", [("red", 1.0)])
    decoder = VideoDecoder(limit_seconds=20, command=(sys.executable, "-c", NEVER))
    with pytest.raises(MediaError, match=r"decord: the decoder crashed \(signal 6\); pyav: the decoder crashed \(signal 6\)"):
        list(decoder.frames(str(film)))


def test_leaving_in_the_middle_of_a_film_does_not_spoil_the_next(tmp_path, decoder):
    red = write_film(tmp_path / "red.mp4", [("red", 40.0)])
    blue = write_film(tmp_path / "blue.mp4", [("blue", 2.0)])
    replies = decoder.frames(str(red))
    next(replies), next(replies)
    replies.close()
    assert {colour_at(frame) for frame in frames_of(decoder, blue)[1]} == {"blue"}


def test_a_closed_decoder_leaves_no_process(tmp_path):
    decoder = VideoDecoder()
    list(decoder.frames(str(write_film(tmp_path / "film.mp4", [("red", 1.0)]))))
    process = decoder._worker._process
    decoder.close()
    time.sleep(0.05)
    assert process.poll() is not None
