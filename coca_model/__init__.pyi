from .config import CoCaConfig
from .encoder import Encoder, load
from .errors import CheckpointError, CocaModelError, PictureError
from .generate import CaptionOptions
from .preprocess import open_picture

__all__ = [
    "CaptionOptions",
    "CheckpointError",
    "CoCaConfig",
    "CocaModelError",
    "Encoder",
    "PictureError",
    "load",
    "open_picture",
]
