"""The time of each sampled frame, in films whose frames show their number: what a player shows, in many containers and codecs."""

import shutil
import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest

from media.video.film import read_film
from media.video.frame_at import frame_at
from media.video.messages import End, Request, VideoFrame
from tests.clock_films import RATE, copied, number_in, write_clock

GROUPS = {"g": "12", "bf": "2"}
VP = {"g": "12", "deadline": "realtime", "cpu-used": "8"}
X265 = {"x265-params": "log-level=none:keyint=12:bframes=3"}
OPEN = {"x264-params": "open-gop=1:keyint=12:bframes=3:scenecut=0"}
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}
FILMS = {
    "h264.mp4": {"codec_options": GROUPS},
    "sparse.mp4": {"codec_options": {"g": "250", "bf": "3", "sc_threshold": "0"}},
    "open-groups.mkv": {"codec_options": OPEN},
    "hevc.mp4": {"codec": "libx265", "codec_options": X265},
    "av1.webm": {"codec": "libsvtav1", "codec_options": {"preset": "8", "crf": "5"}, "size": (128, 96)},
    "prores.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le"},
    "mjpeg.mov": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "vp9.mkv": {"codec": "libvpx-vp9", "codec_options": VP},
    "vp8.webm": {"codec": "libvpx", "codec_options": VP},
    "vp8.ogv": {"codec": "libvpx", "format": "ogg", "codec_options": VP},
    "mpeg4.avi": {"codec": "mpeg4", "codec_options": GROUPS},
    "h264.avi": {"codec_options": GROUPS},
    "open-groups.avi": {"codec_options": OPEN},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "mpeg2.ts": {"codec": "mpeg2video", "codec_options": GROUPS, "format": "mpegts"},
    "h264.mts": {"codec_options": GROUPS, "format": "mpegts"},
    "mpeg2.mpg": {"codec": "mpeg2video", "codec_options": GROUPS, "format": "vob"},
    "mpeg1.mpg": {"codec": "mpeg1video", "codec_options": GROUPS, "format": "mpeg"},
    "wmv2.wmv": {"codec": "wmv2", "codec_options": {"g": "12"}, "format": "asf"},
    "h264.flv": {"codec_options": GROUPS},
    "sorenson.flv": {"codec": "flv", "codec_options": {"g": "12"}},
    "h263.3gp": {"codec": "h263", "size": (128, 96)},
    "fragments.mp4": {"codec_options": GROUPS, "container_options": FRAGMENTS},
    "mpeg2.mxf": {"codec": "mpeg2video", "format": "mxf"},
    "film.gif": {"codec": "gif", "pix_fmt": "gray"},
    "raw.h264": {"codec_options": GROUPS, "format": "h264"},
    "raw.hevc": {"codec": "libx265", "codec_options": X265, "format": "hevc"},
    "raw.m2v": {"codec": "mpeg2video", "codec_options": GROUPS, "format": "mpeg2video"},
    "lossless.mkv": {"codec": "ffv1"},
    "from-ten-hours.mts": {"codec_options": GROUPS, "format": "mpegts", "start": 36_000 * RATE},
    "from-100.mkv": {"codec_options": GROUPS, "start": 100 * RATE},
    "from-3.mp4": {"codec_options": GROUPS, "start": 3 * RATE},
}


def read(path, **request):
    replies = list(read_film(Request(str(path), **request)))
    frames = [reply for reply in replies if isinstance(reply, VideoFrame)]
    assert isinstance(replies[-1], End)
    return replies[0] | replies[-1].metadata, frames, replies[-1].cuts


def shown(frames):
    """What the frames show, and their times, both in frames."""
    return [number_in(frame.pixels) for frame in frames], [frame.pts_seconds * RATE for frame in frames]


@pytest.mark.parametrize("name", FILMS)
def test_every_frame_has_the_time_at_which_a_player_shows_it(tmp_path, name):
    film = write_clock(tmp_path / name, **FILMS[name])
    metadata, frames, _ = read(film)
    numbers, times = shown(frames)
    assert times == pytest.approx(numbers, abs=0.1)
    assert metadata["duration_seconds"] == pytest.approx(4.0, abs=0.1)
    assert len(frames) >= 4
    assert times == sorted(set(times))
    for number in (0, 33, 70):
        found = number_in(np.asarray(frame_at(film, number / RATE)))
        assert abs(found - number) <= 1


@pytest.mark.parametrize("name", ["h264.mp4", "sparse.mp4", "h264.mts", "h264.avi", "vp8.webm"])
def test_uniform_samples_are_the_frames_shown_at_the_middles_of_equal_parts(tmp_path, name):
    _, frames, _ = read(write_clock(tmp_path / name, **FILMS[name]), seconds_between=0.2)
    assert shown(frames)[0] == list(range(2, 100, 5))


def test_frames_that_an_edit_list_hides_do_not_count(tmp_path):
    whole = write_clock(tmp_path / "whole.mp4", codec_options={"g": "25", "bf": "2", "sc_threshold": "0"})
    trimmed = copied(whole, tmp_path / "trimmed.mp4", shift=-0.92)
    metadata, frames, _ = read(trimmed)
    numbers, times = shown(frames)
    assert times == pytest.approx([number - 23 for number in numbers], abs=0.1)
    assert metadata["duration_seconds"] == pytest.approx(3.08, abs=0.1)


def test_frames_of_variable_length_keep_their_times(tmp_path):
    at = [index + index // 10 * 7 for index in range(100)]
    _, frames, _ = read(write_clock(tmp_path / "film.mkv", at=at))
    numbers, times = shown(frames)
    assert times == pytest.approx([at[number] for number in numbers], abs=0.1)


@pytest.mark.parametrize("name", ["slides.mkv", "slides.mp4", "slides.flv"])
def test_slides_of_twenty_seconds_each_are_shown_in_turn(tmp_path, name):
    film = write_clock(tmp_path / name, frames=12, at=range(0, 12 * 500, 500), codec_options={"bf": "3", "g": "250"})
    _, frames, _ = read(film)
    numbers, times = shown(frames)
    assert numbers == list(range(12))
    assert times == pytest.approx(range(0, 12 * 500, 500), abs=0.1)


def write_with_sound(path, *, sound_start=0.0, sound_seconds=4.0, frames=100, start=0, sound="aac", codec="libx264"):
    """A clock with a tone, whose start and length can differ."""
    silent = write_clock(path.with_name("silent.mkv"), codec, frames=frames, start=start)
    with av.open(str(silent)) as old, av.open(str(path), "w") as new:
        video, audio = new.add_stream_from_template(old.streams.video[0]), new.add_stream(sound, rate=48_000)
        samples = np.zeros((2 if sound == "libvorbis" else 1, round(sound_seconds * 48_000)), np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo" if len(samples) == 2 else "mono")
        frame.sample_rate, frame.pts = 48_000, round(sound_start * 48_000)
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = video
                new.mux(packet)
        new.mux(audio.encode(frame))
        new.mux(audio.encode())
    return path


def test_a_picture_that_starts_after_its_sound_has_the_clock_of_the_sound(tmp_path):
    metadata, frames, _ = read(write_with_sound(tmp_path / "film.mkv", start=2 * RATE, sound_seconds=6.0))
    numbers, times = shown(frames)
    assert times == pytest.approx([number + 50 for number in numbers], abs=0.6)
    assert metadata["duration_seconds"] == pytest.approx(6.0, abs=0.1)


def test_a_still_picture_with_a_long_sound_is_one_frame_of_a_long_film(tmp_path):
    film = write_with_sound(tmp_path / "film.webm", frames=1, sound_seconds=60.0, sound="libopus", codec="libvpx")
    metadata, frames, _ = read(film)
    assert [round(frame.pts_seconds, 2) for frame in frames] == [0.0]
    assert metadata["duration_seconds"] == pytest.approx(60.0, abs=0.1)


def test_a_duration_that_the_packets_disprove_is_not_believed(tmp_path):
    film = write_clock(tmp_path / "film.mkv")
    data = film.read_bytes()
    at = data.index(b"\x44\x89\x88") + 3  # Matroska's Duration, a double, in milliseconds
    film.write_bytes(data[:at] + np.array(600_000.0, ">f8").tobytes() + data[at + 8 :])
    metadata, frames, _ = read(film)
    assert metadata["duration_seconds"] == pytest.approx(4.0, abs=0.1)
    assert len(frames) <= 20


def test_a_film_without_a_duration_is_measured(tmp_path):
    live = write_clock(tmp_path / "live.webm", "libvpx", codec_options=VP, container_options={"live": "1"})
    with av.open(str(live)) as container:
        assert container.duration is None
    assert read(live)[0]["duration_seconds"] == pytest.approx(4.0, abs=0.1)
    assert len(read(live)[1]) >= 8


def test_the_last_frame_counts_where_only_the_time_of_its_start_is_known(tmp_path):
    with av.open(str(tmp_path / "pipe.flv"), "w", container_options={"flvflags": "no_duration_filesize"}) as container:
        stream = container.add_stream("flv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(40):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert read(tmp_path / "pipe.flv")[0]["duration_seconds"] == pytest.approx(4.0, abs=0.01)


def test_time_stamps_that_jump_go_on_where_they_were(tmp_path):
    how = {"codec": "mpeg2video", "format": "mpegts", "codec_options": GROUPS}
    starts = {0: 100_000, 50: 10, 100: 5_000_000, 150: 4_999_980}  # by the number of the first frame
    parts = [write_clock(tmp_path / f"{n}.ts", frames=range(n, n + 50), start=start, **how) for n, start in starts.items()]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    metadata, frames, _ = read(joined)
    numbers, times = shown(frames)
    assert times == pytest.approx(numbers, abs=2.1)  # an encoder's delay at each joint
    assert max(numbers) > 180
    assert metadata["duration_seconds"] == pytest.approx(8.0, abs=0.3)


@pytest.mark.parametrize(("frames", "length"), [(1, 0.04), (2, 0.08), (5, 0.2)])
def test_a_film_of_few_frames_gives_each_of_them_at_most_once(tmp_path, frames, length):
    metadata, found, _ = read(write_clock(tmp_path / "film.mp4", frames=frames))
    assert shown(found)[0] == sorted(set(shown(found)[0]))
    assert metadata["duration_seconds"] == pytest.approx(length)


def test_a_film_may_be_a_part_of_a_file(tmp_path):
    film = write_clock(tmp_path / "film.mp4").read_bytes()
    (tmp_path / "picture.jpg").write_bytes(b"x" * 1000 + film + b"y" * 500)
    numbers, times = shown(read(tmp_path / "picture.jpg", start=1000, length=len(film))[1])
    assert times == pytest.approx(numbers, abs=0.1)
    assert number_in(np.asarray(frame_at(tmp_path / "picture.jpg", 2.0, start=1000, length=len(film)))) == 50


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg's encoder of Theora")
def test_theora_repeats_frames_with_empty_packets(tmp_path):
    clock = write_clock(tmp_path / "clock.mkv", "ffv1")
    subprocess.run(["ffmpeg", "-v", "error", "-i", clock, "-c:v", "libtheora", "-q:v", "9", tmp_path / "film.ogv"], check=True)
    numbers, times = shown(read(tmp_path / "film.ogv")[1])
    assert times == pytest.approx(numbers, abs=0.1)
