import math

import numpy as np
import pytest

from media.video.sampling import sample_times


@pytest.mark.parametrize(("duration", "count"), [(0.4, 16), (16.0, 16), (16.5, 17), (100.0, 100)])
def test_times_are_uniform_about_a_second_apart_and_at_least_sixteen(duration, count):
    times = sample_times(duration)
    assert len(times) == count
    np.testing.assert_allclose(np.diff(times), duration / count)
    np.testing.assert_allclose([times[0], duration - times[-1]], duration / count / 2)


def test_an_infinite_interval_gives_sixteen_frames_of_any_video():
    assert len(sample_times(5000.0, seconds_between=math.inf)) == 16
