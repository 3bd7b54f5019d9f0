from .architecture.config import CoCaConfig
from .decoding.options import CaptionOptions
from .encoder import Encoder, load
from .errors import CheckpointError, CocaModelError, PictureError
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
