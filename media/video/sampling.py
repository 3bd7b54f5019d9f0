"""Which frames of a video to sample: about one a second, uniformly."""

import math

CLIP_FRAMES = 16  # frames that represent a whole clip (CoCa paper, section 4.2, video retrieval)
SECONDS_BETWEEN_FRAMES = 1.0


def sample_times(duration_seconds: float, *, seconds_between: float = SECONDS_BETWEEN_FRAMES) -> list[float]:
    """The middles of equal parts of the video, in seconds, about `seconds_between` apart; at least `CLIP_FRAMES` times."""
    count = max(CLIP_FRAMES, math.ceil(duration_seconds / seconds_between))
    return [(i + 0.5) * duration_seconds / count for i in range(count)]
