from .decoder import Video, VideoDecoder
from .messages import VideoFrame
from .sampling import CLIP_FRAMES, SECONDS_BETWEEN_FRAMES

__all__ = [
    "CLIP_FRAMES",
    "SECONDS_BETWEEN_FRAMES",
    "Video",
    "VideoDecoder",
    "VideoFrame",
]
