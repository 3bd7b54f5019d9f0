"""Divides a file into segments: a picture is one, a video has one for each shot and one for the whole clip.

The vector of a shot is the mean of its frames. The vector of a whole clip is the mean of 16 uniformly spaced frames (CoCa paper,
section 4.2, video retrieval).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from indexer.processing.shots import mean_vector, timed_shots
from media.video import CLIP_FRAMES
from search.collection import Segment
from search.schema import MAX_SEGMENTS_PER_FILE


def picture_segments(vector: NDArray[np.float32]) -> tuple[Segment, ...]:
    """The segments of a picture. `vector`: float32 (E,), L2 norm 1."""
    return (Segment("image", vector),)


def video_segments(
    vectors: NDArray[np.float32], times: Sequence[float], duration_seconds: float, cuts: Sequence[float] = ()
) -> tuple[Segment, ...]:
    """The segments of a video: the whole clip first, then each shot.

    Args:
        vectors: float32 (N, E), rows of L2 norm 1, N >= 1, in the order of time.
        times: N presentation times in seconds, rising.
        duration_seconds: length of the video.
        cuts: the seconds at which a new shot starts suddenly, rising.
    """
    shown = clip_frames(times, duration_seconds)
    segments = [Segment("clip", mean_vector(vectors[shown]), 0.0, duration_seconds, times[shown[len(shown) // 2]])]
    for start, end, shot in timed_shots(vectors, times, duration_seconds, cuts)[: MAX_SEGMENTS_PER_FILE - 1]:
        segments.append(Segment("shot", mean_vector(vectors[shot.first : shot.stop]), start, end, times[shot.best]))
    return tuple(segments)


def clip_frames(times: Sequence[float], duration_seconds: float) -> list[int]:
    """The frames shown at the middles of 16 equal parts of a video, each once."""
    wanted = (np.arange(CLIP_FRAMES) + 0.5) * duration_seconds / CLIP_FRAMES
    shown = np.clip(np.searchsorted(times, wanted, side="right") - 1, 0, len(times) - 1)
    return list(dict.fromkeys(shown.tolist()))
