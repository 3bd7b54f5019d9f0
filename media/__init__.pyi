from .errors import MediaError, PictureError
from .formats import format_of
from .metadata import Metadata
from .pictures.picture import Picture, open_picture, read_picture
from .thumbnails import make_thumbnail
from .video.decoder import VideoDecoder
from .video.messages import VideoFrame

__all__ = [
    "MediaError",
    "Metadata",
    "Picture",
    "PictureError",
    "VideoDecoder",
    "VideoFrame",
    "format_of",
    "make_thumbnail",
    "open_picture",
    "read_picture",
]
