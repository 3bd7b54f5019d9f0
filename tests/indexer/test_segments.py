"""Shot boundaries, and the frames that represent a clip."""

import numpy as np
import pytest

from indexer.segments import clip_frames, find_shots, mean_vector


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize(("count", "wanted"), [(1, [0]), (3, [0, 1, 2]), (31, list(range(0, 31, 2)))])
def test_a_clip_is_at_most_sixteen_uniform_frames(count, wanted):
    assert clip_frames(count).tolist() == wanted


def test_shots_are_cut_where_the_vectors_change():
    random = np.random.default_rng(0)
    a, b, c = random.normal(size=(3, 32))
    vectors = unit([a] * 4 + [b] * 2 + [c] * 5 + random.normal(size=(11, 32))[:0].tolist()) + 0.01 * random.normal(size=(11, 32)).astype(
        "f4"
    )
    assert [(shot.first, shot.stop) for shot in find_shots(unit(vectors))] == [(0, 4), (4, 6), (6, 11)]


def test_a_slow_change_gives_one_shot():
    angle = np.linspace(0, np.pi / 2, 40)
    vectors = unit(np.stack([np.cos(angle), np.sin(angle)], axis=1))
    assert [(shot.first, shot.stop) for shot in find_shots(vectors)] == [(0, 40)]


def test_one_frame_gives_one_shot():
    (shot,) = find_shots(unit([[1, 0]]))
    assert (shot.first, shot.stop, shot.best) == (0, 1, 0)


def test_the_best_frame_is_the_one_nearest_to_the_mean():
    (shot,) = find_shots(unit([[1, 0.2], [1, 0.05], [1, -0.2]]))
    assert shot.best == 1


def test_the_mean_of_opposite_vectors_has_norm_1():
    mean = mean_vector(unit([[1, 0], [-1, 0]]))
    assert np.linalg.norm(mean) == pytest.approx(1.0)
