"""Which frames of a film are sampled: about one a second, and about 16 of a short film."""

import math
from dataclasses import dataclass

CLIP_FRAMES = 16  # frames that represent a whole clip (CoCa paper, section 4.2, video retrieval)
SECONDS_BETWEEN_FRAMES = 1.0
_MOST_FRAMES = 14_400  # four hours at one a second; a longer film is sampled more sparsely
_LONG_FILM_SECONDS = 600.0
_SHORTEST_SECONDS = 0.01  # damaged files may say 0
_DENSE = 2.1  # key frames this many intervals apart are enough
_DENSE_SECONDS = 1.05  # so are key frames a second apart, as phones write them, if they give 4 frames


@dataclass(frozen=True)
class SamplingPlan:
    """How to sample one film.

    Attributes:
        interval: seconds between samples.
        uniform: whether samples are exactly so far apart. Otherwise they follow key frames and shots.
        longest: seconds between key frames up to which key frames alone are sampled, or, if uniform, packets are held until the next one.
        skips_alike: whether to leave out a frame that looks like the last sample, for up to ten seconds.
    """

    interval: float
    uniform: bool = False
    longest: float = 0.0
    skips_alike: bool = False


def plan_of(duration_seconds: float, seconds_between: float | None = None) -> SamplingPlan:
    """The plan for a film. With `seconds_between`, samples are uniform, and at least 16; if it is infinite, 16 of any film."""
    most = max(duration_seconds, _SHORTEST_SECONDS) / CLIP_FRAMES
    if seconds_between is not None:
        return SamplingPlan(min(seconds_between, most), uniform=True, longest=math.inf)
    interval = max(min(SECONDS_BETWEEN_FRAMES, most), duration_seconds / _MOST_FRAMES)
    longest = max(_DENSE * interval, min(_DENSE_SECONDS, duration_seconds / 4))
    return SamplingPlan(interval, longest=longest, skips_alike=duration_seconds > _LONG_FILM_SECONDS)
