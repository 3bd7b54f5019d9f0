"""Which moments of a video to look at: sparse and uniform, about one frame a second."""

import math

CLIP_FRAMES = 16  # that represent a whole clip (CoCa paper, section 4.2, video retrieval)
SECONDS_BETWEEN_FRAMES = 1.0


def sample_times(duration_seconds: float, *, seconds_between: float = SECONDS_BETWEEN_FRAMES) -> list[float]:
    """Uniform times in seconds, in the middle of equal parts, about `seconds_between` apart and at least `CLIP_FRAMES` of them."""
    count = max(CLIP_FRAMES, math.ceil(duration_seconds / seconds_between))
    return [(i + 0.5) * duration_seconds / count for i in range(count)]
