from .columns import Metadata
from .file import file_metadata
from .picture import orientation_of, picture_metadata
from .video import video_metadata

__all__ = [
    "Metadata",
    "file_metadata",
    "orientation_of",
    "picture_metadata",
    "video_metadata",
]
