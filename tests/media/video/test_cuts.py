"""Cuts found in films of moving scenes with known cuts."""

from itertools import pairwise

import numpy as np
import pytest

from media.video.cuts import CutFinder
from media.video.film import read_film
from media.video.messages import Request
from media.video.signatures import change, is_alike
from tests.scene_films import dissolved, faded, flashed, joined, plain, scene, write_scenes

PARTS = (scene(1), 2.4), (scene(2, speed=3.0), 4.0), (scene(3, speed=0.0), 1.6), (scene(4), 6.28), (scene(5), 3.0)
CUTS = [2.4, 6.4, 8.0, 14.28]
SPARSE, DENSE, FIXED = {"g": "250", "bf": "2"}, {"g": "12"}, {"g": "25", "sc_threshold": "0", "bf": "2"}


def cuts_of(path):
    *_, end = read_film(Request(str(path)))
    return list(end.cuts)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("sparse.mp4", SPARSE),
        ("dense.mp4", DENSE),
        ("fixed.mp4", FIXED),
        ("two-seconds.mp4", FIXED | {"g": "50"}),
        ("one-key-frame.mkv", {"g": "1000", "sc_threshold": "0"}),
        ("vp9.webm", {"codec": "libvpx-vp9", "g": "50", "deadline": "realtime", "cpu-used": "8"}),
        ("mpeg4.avi", {"codec": "mpeg4", "g": "12"}),
        ("mjpeg.mov", {"codec": "mjpeg"}),
    ],
)
def test_cuts_are_found_to_a_few_frames(tmp_path, name, how):
    film = write_scenes(tmp_path / name, joined(*PARTS), 17.28, **how)
    tolerance = 0.5 if "mjpeg" in name else 0.13
    assert cuts_of(film) == pytest.approx(CUTS, abs=tolerance)


@pytest.mark.parametrize("how", [SPARSE, FIXED])
@pytest.mark.parametrize(
    "view",
    [scene(1, speed=4.0), flashed(scene(1), at=4.4), dissolved(scene(1), scene(2), middle=5.0)],
    ids=["pan", "flash", "dissolve"],
)
def test_what_is_not_a_sudden_cut_is_not_one(tmp_path, view, how):
    assert cuts_of(write_scenes(tmp_path / "film.mp4", view, 10.0, **how)) == []


@pytest.mark.parametrize("how", [SPARSE, FIXED])
@pytest.mark.parametrize("length", [0.8, 2.0])
def test_a_fade_through_black_is_a_cut_in_its_middle(tmp_path, how, length):
    film = write_scenes(tmp_path / "film.mp4", faded(scene(1), scene(2), middle=5.3, length=length), 10.0, **how)
    assert cuts_of(film) == pytest.approx([5.3], abs=0.13)


@pytest.mark.parametrize("how", [SPARSE, FIXED, FIXED | {"g": "50"}])
@pytest.mark.parametrize("length", [0.8, 2.0])
def test_a_dissolve_of_shots_at_rest_is_a_cut_in_its_middle(tmp_path, how, length):
    view = dissolved(scene(1, speed=0.0), scene(2, speed=0.0), middle=5.3, length=length)
    assert cuts_of(write_scenes(tmp_path / "film.mp4", view, 10.0, **how)) == pytest.approx([5.3], abs=0.4)


@pytest.mark.parametrize("how", [SPARSE, FIXED])
def test_a_film_that_slowly_becomes_lighter_has_no_cut(tmp_path, how):
    assert cuts_of(write_scenes(tmp_path / "film.mp4", lambda seconds: plain(20 * seconds)(seconds), 12.0, **how)) == []


def test_a_fade_through_white_is_a_cut_in_its_middle(tmp_path):
    black = faded(lambda seconds: 255 - scene(1)(seconds), lambda seconds: 255 - scene(2)(seconds), middle=5.3, length=2.0)
    film = write_scenes(tmp_path / "film.mp4", lambda seconds: 255 - black(seconds), 10.0, **SPARSE)
    assert cuts_of(film) == pytest.approx([5.3], abs=0.13)


def test_a_change_of_hue_alone_is_a_cut(tmp_path):
    """All colours have the same luma."""
    colours = [(200, 60, 60), (60, 117, 120), (120, 60, 255), (60, 130, 20)]
    film = write_scenes(tmp_path / "film.mp4", joined(*((plain(colour), 4.0) for colour in colours)), 16.0)
    assert cuts_of(film) == pytest.approx([4.0, 8.0, 12.0], abs=0.1)


@pytest.mark.parametrize("rate", [1, 5, 25])
def test_slides_are_cut_at_any_frame_rate(tmp_path, rate):
    film = write_scenes(tmp_path / "film.mp4", joined(*((scene(seed, speed=0.0), 3.0) for seed in range(5))), 15.0, rate=rate)
    assert cuts_of(film) == pytest.approx([3.0, 6.0, 9.0, 12.0], abs=0.13)


def test_two_cuts_close_together_count_once(tmp_path):
    film = write_scenes(tmp_path / "film.mp4", joined((scene(1), 3.0), (scene(2), 0.4), (scene(3), 3.0)), 6.4)
    assert len(cuts_of(film)) == 1


def test_every_shot_of_a_second_is_sampled(tmp_path):
    """Also where key frames are two seconds apart, and two cuts lie between them."""
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (30, 200, 200)]
    lengths = [4.3, 1.2, 5.0, 1.1, 6.0]
    film = write_scenes(
        tmp_path / "film.mp4",
        joined(*((plain(colour), length) for colour, length in zip(colours, lengths, strict=True))),
        17.6,
        g="50",
        sc_threshold="0",
    )
    _, *frames, end = read_film(Request(str(film)))
    assert list(end.cuts) == pytest.approx([4.3, 5.5, 10.5, 11.6], abs=0.1)
    bounds = [0.0, *end.cuts, 17.6]
    assert all(any(start <= frame.pts_seconds < stop for frame in frames) for start, stop in pairwise(bounds))


def test_noise_is_alike_and_a_small_object_is_not():
    rng = np.random.default_rng(0)
    calm = rng.integers(100, 110, (3, 36, 64)).astype(np.uint8)
    object_ = calm.copy()
    object_[:, 8:12, 20:24] += 40
    assert is_alike(calm, np.roll(calm, 1))
    assert not is_alike(calm, object_)
    assert change(calm, object_) < 2


def test_no_frames_have_no_cuts():
    assert CutFinder().finish() == []
