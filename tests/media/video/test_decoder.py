"""Decoding of valid and broken videos, and decoders that crash or hang."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from media.errors import MediaError
from media.video import pyav_reader, worker_process
from media.video.decoder import VideoDecoder
from tests.fakes import COLOURS, turn_film, write_film


@pytest.fixture
def decoder():
    with VideoDecoder() as decoder:
        yield decoder


def frames_of(decoder, path):
    with decoder.open(path) as video:
        return video.metadata, list(video.frames)


def colour_at(frame):
    mean = frame.pixels.reshape(-1, 3).mean(0)
    return min(COLOURS, key=lambda name: np.abs(mean - COLOURS[name]).sum())


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "libx264"), (".avi", "mpeg4"), (".webm", "libvpx-vp9"), (".mkv", "libx264")])
def test_each_sampled_frame_is_the_frame_shown_at_its_time(tmp_path, decoder, suffix, codec):
    film = write_film(tmp_path / f"film{suffix}", [("red", 3.0), ("green", 2.0), ("blue", 4.0)], codec=codec)
    metadata, frames = frames_of(decoder, film)
    assert metadata["duration_seconds"] == pytest.approx(9.0, abs=0.11)
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
def test_a_rotated_video_is_upright_with_both_libraries(tmp_path, decoder, turn, red_side):
    film = tmp_path / "film.mp4"
    write_half_film(film)  # red on the left
    turn_film(film, turn)
    metadata, frames = frames_of(decoder, film)
    assert (metadata["width"], metadata["height"]) == ((128, 96) if turn == 180 else (96, 128))
    for frame in (frames[0].pixels, next(pyav_reader.read_frames(str(film), [0.0]))[1]):
        height, width, _ = frame.shape
        assert (width, height) == (metadata["width"], metadata["height"])
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


def test_a_video_that_decord_cannot_open_is_decoded_by_pyav(tmp_path, decoder):
    film = write_film(tmp_path / "film.mp4", [("red", 1.0), ("blue", 1.0)], codec="libsvtav1")
    _, frames = frames_of(decoder, film)
    assert {colour_at(frame) for frame in frames} == {"red", "blue"}


@pytest.mark.parametrize("content", [b"", b"not a film at all", b"\0" * 5000], ids=["empty", "text", "zeros"])
def test_a_file_that_is_not_a_video_is_an_error(tmp_path, decoder, content):
    (tmp_path / "film.mp4").write_bytes(content)
    with pytest.raises(MediaError, match="not a video that can be read"):
        frames_of(decoder, tmp_path / "film.mp4")


def test_a_truncated_video_gives_its_remaining_frames_and_the_next_video_works(tmp_path, decoder):
    whole = write_film(tmp_path / "whole.mkv", [("red", 3.0), ("blue", 3.0)])
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert frames_of(decoder, cut)[1]
    assert len(frames_of(decoder, whole)[1]) == 16


CRASHING = """
import os, sys
sys.path.insert(0, sys.argv[1])
from media.video import worker
answer = worker.answer
def crash(request, connection):
    if request.backend == "decord":
        os.abort()
    answer(request, connection)
worker.answer = crash
worker.main(int(sys.argv[2]))
"""
HANGING = CRASHING.replace("os.abort()", "import time; time.sleep(1000)")
NEVER = CRASHING.replace('request.backend == "decord"', "True")


@pytest.mark.parametrize("program", [CRASHING, HANGING], ids=["crash", "hang"])
def test_a_decoder_that_crashes_or_hangs_is_replaced_and_pyav_takes_over(tmp_path, monkeypatch, program):
    film = write_film(tmp_path / "film.mp4", [("red", 2.0)])
    monkeypatch.setattr(worker_process, "_PROGRAM", program)
    with VideoDecoder(limit_seconds=8) as decoder:
        assert [colour_at(frame) for frame in frames_of(decoder, film)[1]] == ["red"] * 16


def test_a_video_that_crashes_both_decoders_is_an_error_with_the_signal(tmp_path, monkeypatch):
    film = write_film(tmp_path / "film.mp4", [("red", 1.0)])
    monkeypatch.setattr(worker_process, "_PROGRAM", NEVER)
    reason = r"^decord: the decoder crashed \(signal 6\); pyav: the decoder crashed \(signal 6\)$"
    with VideoDecoder(limit_seconds=20) as decoder, pytest.raises(MediaError, match=reason) as caught:
        frames_of(decoder, film)
    assert caught.value.stage == "decode"


def test_pyav_continues_from_the_frame_where_decord_stopped(tmp_path, decoder, monkeypatch):
    film = write_film(tmp_path / "film.mp4", [("red", 2.0), ("blue", 2.0)])
    stopping = """
import sys
sys.path.insert(0, sys.argv[1])
from media.errors import MediaError
from media.video import decord_reader, worker
read = decord_reader.read_frames
def stop(*args, **options):
    frames = read(*args, **options)
    for _ in range(5):
        yield next(frames)
    raise MediaError("decode", "decord: enough")
decord_reader.read_frames = stop
worker.main(int(sys.argv[2]))
"""
    times = [frame.pts_seconds for frame in frames_of(decoder, film)[1]]
    monkeypatch.setattr(worker_process, "_PROGRAM", stopping)
    with VideoDecoder() as stopped:
        assert [frame.pts_seconds for frame in frames_of(stopped, film)[1]] == pytest.approx(times, abs=1e-3)


def test_stopping_in_the_middle_of_a_video_does_not_affect_the_next(tmp_path, decoder):
    red = write_film(tmp_path / "red.mp4", [("red", 40.0)])
    blue = write_film(tmp_path / "blue.mp4", [("blue", 2.0)])
    with decoder.open(red) as video:
        next(video.frames)
    assert {colour_at(frame) for frame in frames_of(decoder, blue)[1]} == {"blue"}


def test_an_idle_worker_is_reused_and_a_dead_one_is_replaced(tmp_path, decoder):
    film = write_film(tmp_path / "film.mp4", [("red", 1.0)])
    frames_of(decoder, film)
    (first,) = decoder._idle
    frames_of(decoder, film)
    assert decoder._idle == [first]
    first.kill()
    first.exit_status()
    assert len(frames_of(decoder, film)[1]) == 16
    assert first not in decoder._idle


def test_threads_decode_different_videos_at_once(tmp_path, decoder):
    films = [write_film(tmp_path / f"{colour}.mp4", [(colour, 3.0)]) for colour in ("red", "green", "blue")]
    together = threading.Barrier(len(films), timeout=60)

    def decode(film):
        with decoder.open(film) as video:
            together.wait()  # all are open
            return {colour_at(frame) for frame in video.frames}

    with ThreadPoolExecutor(len(films)) as pool:
        assert list(pool.map(decode, films)) == [{"red"}, {"green"}, {"blue"}]


def test_a_closed_decoder_leaves_no_process_and_refuses_to_decode(tmp_path):
    film = write_film(tmp_path / "film.mp4", [("red", 40.0)])
    decoder = VideoDecoder()
    frames_of(decoder, film)
    (idle,) = decoder._idle
    with decoder.open(film) as video:
        (busy,) = decoder._busy
        next(video.frames)
        decoder.close()
        with pytest.raises(RuntimeError, match="was closed while it decoded"):
            list(video.frames)
    assert not idle.is_alive()
    assert not busy.is_alive()
    with pytest.raises(RuntimeError, match="decoder is closed"):
        frames_of(decoder, film)


def test_a_slow_reader_gets_every_frame(tmp_path, decoder):
    film = write_film(tmp_path / "film.mp4", [("red", 40.0)], size=(640, 480))  # more than a socket buffers
    with decoder.open(film) as video:
        next(video.frames)
        time.sleep(1.0)
        assert len(list(video.frames)) == 39


SHADOWS = ("media", "av", "decord", "numpy", "PIL", "queue", "lazy_loader", "multiprocessing")


def test_the_worker_imports_nothing_from_the_current_directory(tmp_path):
    film = write_film(tmp_path / "film.mp4", [("red", 1.0)])
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('shadowed')")
    root = Path(worker_process.__file__).parents[2]
    program = f"""
import sys
sys.path.insert(0, {str(root)!r})
from media import VideoDecoder
with VideoDecoder() as decoder, decoder.open({str(film)!r}) as video:
    print(len(list(video.frames)))
"""
    done = subprocess.run([sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "16\n"


def test_the_worker_imports_no_heavy_package():
    heavy = "torch", "lancedb", "pyarrow", "fastapi", "coca_model", "search", "indexer"
    program = f"import sys; from media.video import worker, decord_reader; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
