"""The segments of a video: the frames that represent a clip, and a segment for each shot."""

import numpy as np
import pytest

from indexer.processing.segments import clip_frames, video_segments


@pytest.mark.parametrize(
    ("times", "duration", "wanted"),
    [
        ([0.0], 5.0, [0]),
        ([0.0, 1.0, 2.0], 3.0, [0, 1, 2]),
        ([i + 0.5 for i in range(32)], 32.0, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30]),
        ([0.0, 1.0, 2.0, 15.0], 16.0, [0, 1, 2, 3]),
    ],
)
def test_a_clip_is_the_frames_shown_at_sixteen_uniform_times(times, duration, wanted):
    assert clip_frames(times, duration) == wanted


def test_a_video_gives_its_clip_and_then_its_shots():
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 0, 1, 1, 1, 1, 1]]
    clip, *shots = video_segments(vectors, [float(second) for second in range(8)], 8.2, [2.9])
    assert (clip.kind, clip.start_seconds, clip.end_seconds) == ("clip", 0.0, 8.2)
    assert [(shot.kind, shot.start_seconds, shot.end_seconds) for shot in shots] == [("shot", 0.0, 2.9), ("shot", 2.9, 8.2)]
    assert [shot.frame_seconds for shot in shots] == [0.0, 3.0]
    np.testing.assert_allclose(shots[0].vector, vectors[0])
