import math

import pytest

from media.video.film import read_film
from media.video.messages import Request, VideoFrame
from media.video.sampling import plan_of
from tests.clock_films import number_in, write_clock

SPARSE = {"g": "250", "sc_threshold": "0"}


def sampled(path, **request):
    return [number_in(reply.pixels) for reply in read_film(Request(str(path), **request)) if isinstance(reply, VideoFrame)]


@pytest.mark.parametrize(("duration", "interval"), [(0.4, 0.025), (8.0, 0.5), (16.0, 1.0), (3600.0, 1.0), (36_000.0, 2.5)])
def test_samples_are_a_second_apart_but_sixteen_of_a_short_film_and_fewer_of_a_very_long_one(duration, interval):
    assert plan_of(duration).interval == pytest.approx(interval)


@pytest.mark.parametrize(("between", "interval"), [(1.0, 1.0), (math.inf, 312.5)])
def test_uniform_samples_have_the_wanted_distance(between, interval):
    plan = plan_of(5000.0, between)
    assert (plan.interval, plan.uniform, plan.skips_alike, plan.longest) == (interval, True, False, math.inf)


@pytest.mark.parametrize(("group", "wanted"), [("10", [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]), ("5", [0, 5, 10, 15, 20, 25, 30, 35])])
def test_key_frames_are_the_samples_where_they_are_dense(tmp_path, group, wanted):
    film = write_clock(tmp_path / "film.mp4", codec_options={"g": group, "sc_threshold": "0", "bf": "2"})
    numbers = sampled(film)
    assert numbers[: len(wanted)] == wanted


def test_sixteen_frames_are_sampled_where_key_frames_are_sparse(tmp_path):
    numbers = sampled(write_clock(tmp_path / "film.mp4", codec_options=SPARSE))
    assert len(numbers) == pytest.approx(16, abs=2)
    assert numbers == sorted(numbers)


def test_a_second_of_key_frames_and_then_none_is_sampled_throughout(tmp_path):
    """Cameras write key frames at a fixed distance, editors where they like."""
    how = [{"g": group, "sc_threshold": "0"} for group in ("10", "250")]
    parts = [write_clock(tmp_path / f"{number}.ts", format="mpegts", codec_options=options) for number, options in enumerate(how)]
    (tmp_path / "film.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    assert len(sampled(tmp_path / "film.ts")) == pytest.approx(18, abs=4)


def test_a_long_film_of_a_still_picture_is_sampled_every_ten_seconds(tmp_path):
    film = write_clock(tmp_path / "film.mkv", frames=[5] * 1200, at=range(0, 1200 * 25, 25), codec_options={"g": "2", "sc_threshold": "0"})
    assert len(sampled(film)) == pytest.approx(120, abs=3)


def test_a_moment_that_differs_in_a_long_film_of_a_still_picture_is_sampled(tmp_path):
    numbers = [5] * 1200
    numbers[777] = 6
    film = write_clock(tmp_path / "film.mkv", frames=numbers, at=range(0, 1200 * 25, 25), codec_options={"g": "1", "sc_threshold": "0"})
    assert sampled(film).count(6) == 1


@pytest.mark.parametrize("options", [{"g": "12", "bf": "3"}, {"x264-params": "open-gop=1:keyint=12:bframes=3:scenecut=0"}])
@pytest.mark.parametrize("between", [0.3, math.inf])
def test_uniform_samples_do_not_depend_on_where_key_frames_are(tmp_path, options, between):
    dense = write_clock(tmp_path / "dense.mkv", frames=250, codec_options=options)
    sparse = write_clock(tmp_path / "sparse.mkv", frames=250, codec_options=SPARSE)
    assert sampled(dense, seconds_between=between) == sampled(sparse, seconds_between=between)
