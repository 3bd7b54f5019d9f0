"""Where shots begin and end, in vectors and in films with known cuts."""

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from indexer.processing.shots import LONGEST_SHOT_SECONDS, LONGEST_STILL_SECONDS, find_shots, mean_vector, timed_shots
from media import VideoDecoder
from tests.fakes import FakeEncoder
from tests.scene_films import dissolved, faded, flashed, joined, plain, scene, write_scenes


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def ranges(vectors, times=None, cuts=()):
    times = range(len(vectors)) if times is None else times
    return [(shot.first, shot.stop) for _, shot in find_shots(vectors, times, cuts)]


def noisy(*runs, noise=0.01):
    """Runs of like vectors: (seed, length)."""
    rng = np.random.default_rng(9)
    rows = np.concatenate([np.repeat(np.random.default_rng(seed).normal(size=(1, 32)), length, 0) for seed, length in runs])
    return unit(rows + noise * rng.normal(size=rows.shape))


def test_shots_are_cut_where_the_vectors_change():
    assert ranges(noisy((1, 4), (2, 2), (3, 5))) == [(0, 4), (4, 6), (6, 11)]


def test_a_cut_that_the_vectors_do_not_show_counts():
    assert ranges(noisy((1, 8)), cuts=[2.5, 5.0]) == [(0, 3), (3, 5), (5, 8)]


def test_a_shot_starts_at_its_cut_or_in_the_middle_of_its_transition():
    vectors = noisy((1, 4), (2, 3), (3, 4))
    vectors[4] = mean_vector(np.stack([vectors[3], vectors[5]]))  # a dissolve
    starts = [start for start, _ in find_shots(vectors, range(11), [6.8])]
    assert starts == pytest.approx([0.0, 4.0, 6.8], abs=0.3)


def test_a_transition_beside_a_cut_is_not_a_second_boundary():
    vectors = noisy((1, 4), (2, 1), (3, 4))
    assert ranges(vectors, cuts=[4.6]) == [(0, 5), (5, 9)]


def test_a_slow_change_gives_one_shot():
    angle = np.linspace(0, np.pi / 2, 25)
    assert ranges(unit(np.stack([np.cos(angle), np.sin(angle)], axis=1))) == [(0, 25)]


def test_one_frame_gives_one_shot():
    ((start, shot),) = find_shots(unit([[1, 0]]), [0.0], [])
    assert (start, shot.first, shot.stop, shot.best) == (0.0, 0, 1, 0)


def test_the_best_frame_is_the_one_nearest_to_the_mean():
    ((_, shot),) = find_shots(unit([[1, 0.2], [1, 0.05], [1, -0.2]]), [0.0, 1.0, 2.0])
    assert shot.best == 1


def test_the_mean_of_opposite_vectors_has_norm_1():
    mean = mean_vector(unit([[1, 0], [-1, 0]]))
    assert np.linalg.norm(mean) == pytest.approx(1.0)


@pytest.mark.parametrize("seconds", [31, 200, 3600])
def test_a_long_take_is_divided_into_parts_of_like_length_that_touch_each_other(seconds):
    shots = timed_shots(noisy((1, seconds), noise=0.3), [float(second) for second in range(seconds)], seconds)
    lengths = [stop - start for start, stop, _ in shots]
    assert max(lengths) <= LONGEST_SHOT_SECONDS
    assert min(lengths) >= LONGEST_SHOT_SECONDS / 5
    assert [start for start, _, _ in shots] == [0.0, *(stop for _, stop, _ in shots[:-1])]
    assert [shot.first for *_, shot in shots] == [0, *(shot.stop for *_, shot in shots[:-1])]
    assert shots[-1][1] == seconds


def test_a_camera_before_which_nothing_happens_gives_few_shots_and_an_event_is_one_of_them():
    still = np.repeat(unit([[1.0, 0.0, 0.0]]), 3600, 0)
    still[:, 2] = np.resize([0.05, -0.05], 3600)  # noise
    vectors = unit(still)
    vectors[2000:2008] = unit([[0.6, 0.8, 0.0]])
    shots = timed_shots(vectors, [10.0 * frame for frame in range(3600)], 36_000.0)
    lengths = [stop - start for start, stop, _ in shots]
    assert len(shots) < 150
    assert max(lengths) <= LONGEST_STILL_SECONDS
    assert [(start, stop) for start, stop, shot in shots if 2000 <= shot.best < 2008] == [
        (pytest.approx(19_995, abs=6), pytest.approx(20_075, abs=6))
    ]
    assert all(start == stop for (_, start, _), (stop, _, _) in pairwise(shots))


def test_a_long_take_is_divided_where_it_changes():
    vectors = np.concatenate([noisy((1, 22), noise=0.1), unit(noisy((1, 18), noise=0.1) + 0.4 * noisy((2, 18)))])
    (_, stop, _), _ = timed_shots(vectors, [float(second) for second in range(40)], 40.0)
    assert stop == pytest.approx(21.5, abs=0.1)


def test_frames_far_apart_are_not_divided():
    (start, stop, _), *others = timed_shots(noisy((1, 1)), [0.0], 120.0)
    assert (start, stop, others) == (0.0, 120.0, [])


def starts_of(path):
    """The starts of the shots of a film, without the first."""
    encoder = FakeEncoder()
    with VideoDecoder() as decoder, decoder.open(path) as video:
        frames = list(video.frames)
    vectors = encoder.encode_images([Image.fromarray(frame.pixels) for frame in frames])
    shots = timed_shots(vectors, [frame.pts_seconds for frame in frames], video.metadata["duration_seconds"], video.cuts)
    return [start for start, _, _ in shots[1:]]


FILMS = {
    "cuts": (
        joined((scene(1, speed=0.1), 3.4), (scene(2, speed=0.1), 5.0), (scene(3, speed=0.0), 3.1), (scene(4, speed=0.1), 4.0)),
        15.5,
        [3.4, 8.4, 11.5],
    ),
    "a static camera": (scene(1, speed=0.0), 15.0, []),
    "slides": (joined(*((scene(seed, speed=0.0), 3.0) for seed in range(5))), 15.0, [3.0, 6.0, 9.0, 12.0]),
    "hues": (joined(*((plain(colour), 4.0) for colour in ((200, 60, 60), (60, 117, 120), (120, 60, 255)))), 12.0, [4.0, 8.0]),
    "a dissolve": (dissolved(scene(11, speed=0.0), scene(12, speed=0.0), middle=7.6), 15.0, [7.6]),
    "a fade": (faded(scene(11, speed=0.0), scene(12, speed=0.0), middle=7.6), 15.0, [7.6]),
    "a film that comes out of the black and goes back": (faded(plain(0), scene(12, speed=0.0), middle=0.0), 12.0, []),
    "a flash": (flashed(scene(1, speed=0.1), at=4.4), 10.0, []),
}


@pytest.mark.parametrize("how", [{"g": "250"}, {"g": "25", "sc_threshold": "0"}], ids=["sparse", "dense"])
@pytest.mark.parametrize("name", FILMS)
def test_shots_begin_within_half_a_second_of_the_truth(tmp_path, name, how):
    view, seconds, wanted = FILMS[name]
    assert starts_of(write_scenes(tmp_path / "film.mp4", view, seconds, **how)) == pytest.approx(wanted, abs=0.5)
