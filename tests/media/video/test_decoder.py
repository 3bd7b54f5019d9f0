"""Videos through the worker process: metadata, frames, cuts, and decoders that crash or hang."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from media.errors import MediaError
from media.video import worker_process
from media.video.decoder import VideoDecoder
from tests.clock_films import number_in, write_clock
from tests.fakes import COLOURS, write_film


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


def test_a_video_has_metadata_frames_and_cuts(tmp_path, decoder):
    film = write_film(tmp_path / "film.mp4", [("red", 3.0), ("green", 2.0), ("blue", 4.0)])
    with decoder.open(film) as video:
        frames = list(video.frames)
    assert (video.metadata["width"], video.metadata["height"]) == (128, 96)
    assert video.metadata["duration_seconds"] == pytest.approx(9.0)
    assert video.cuts == pytest.approx([3.0, 5.0])
    wanted = ["red" if f.pts_seconds < 2.95 else "green" if f.pts_seconds < 4.95 else "blue" for f in frames]
    assert [colour_at(frame) for frame in frames] == wanted


def test_a_part_of_a_file_can_be_a_film(tmp_path, decoder):
    film = write_clock(tmp_path / "film.mp4").read_bytes()
    (tmp_path / "motion.jpg").write_bytes(b"x" * 999 + film)
    with decoder.open(tmp_path / "motion.jpg", start=999) as video:
        assert all(abs(number_in(frame.pixels) - frame.pts_seconds * 25) < 0.1 for frame in video.frames)


@pytest.mark.parametrize("content", [b"", b"not a film at all", b"\0" * 5000], ids=["empty", "text", "zeros"])
def test_a_file_that_is_not_a_video_is_an_error(tmp_path, decoder, content):
    (tmp_path / "film.mp4").write_bytes(content)
    with pytest.raises(MediaError, match=r"not a video that can be read|the file is empty"):
        frames_of(decoder, tmp_path / "film.mp4")


def program(before):
    """A worker that runs `before` ahead of each item that it sends."""
    return f"""
import os, sys, time
sys.path.insert(0, sys.argv[1])
from media.video import worker
ahead = worker.ahead
def broken(items):
    for number, item in enumerate(ahead(items)):
        {before}
        yield item
worker.ahead = broken
worker.main(int(sys.argv[2]))
"""


@pytest.mark.parametrize("fault", ["os.abort()", "time.sleep(1000)"], ids=["crash", "hang"])
def test_the_frames_before_a_crash_are_kept_and_the_film_is_damaged(tmp_path, monkeypatch, fault):
    film = write_film(tmp_path / "film.mp4", [("red", 2.0)])
    monkeypatch.setattr(worker_process, "_PROGRAM", program(f"if number == 6: {fault}"))
    with VideoDecoder(limit_seconds=6) as decoder:
        metadata, frames = frames_of(decoder, film)
    assert [colour_at(frame) for frame in frames] == ["red"] * 5
    assert metadata["damaged"] is True


@pytest.mark.parametrize("number", [0, 1])
def test_a_crash_before_the_first_frame_is_an_error_with_the_signal(tmp_path, monkeypatch, number):
    film = write_film(tmp_path / "film.mp4", [("red", 1.0)])
    monkeypatch.setattr(worker_process, "_PROGRAM", program(f"if number == {number}: os.abort()"))
    with VideoDecoder(limit_seconds=20) as decoder:
        with pytest.raises(MediaError, match=r"^the decoder crashed \(signal 6\)$") as caught:
            frames_of(decoder, film)
        monkeypatch.undo()
        assert frames_of(decoder, film)[1]
    assert caught.value.stage == "decode"


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
    assert frames_of(decoder, film)[1]
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


SHADOWS = ("media", "av", "numpy", "PIL", "queue", "lazy_loader", "multiprocessing")


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
    assert done.stdout == "10\n"


def test_the_worker_imports_no_heavy_package():
    heavy = "torch", "lancedb", "pyarrow", "fastapi", "coca_model", "search", "indexer"
    program = f"import sys; from media.video import worker; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


CTRL_C = """
import os, signal, sys, time
from media import VideoDecoder

signal.signal(signal.SIGINT, lambda *_: None)
with VideoDecoder() as decoder, decoder.open(sys.argv[1]) as video:
    frames = iter(video.frames)
    next(frames)
    os.killpg(0, signal.SIGINT)  # as a terminal does
    time.sleep(0.1)
    print(1 + len(list(frames)), video.metadata.get("damaged"))
"""


def test_ctrl_c_in_a_terminal_does_not_cut_a_film(tmp_path):
    film = write_film(tmp_path / "a.mp4", [("red", 3.0), ("green", 5.0)])
    done = subprocess.run([sys.executable, "-c", CTRL_C, film], capture_output=True, text=True, start_new_session=True, check=True)
    assert done.stdout == "16 None\n"
