"""CoCa: pictures or text in; embeddings, captions and likelihoods out.

Names are imported when they are first asked for, so that a command that needs no model starts without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coca_model.config import CoCaConfig
    from coca_model.encoder import Encoder, load
    from coca_model.errors import CheckpointError, CocaModelError, PictureError, TrainingError
    from coca_model.generate import CaptionOptions
    from coca_model.preprocess import open_picture

__all__ = [
    "CaptionOptions",
    "CheckpointError",
    "CoCaConfig",
    "CocaModelError",
    "Encoder",
    "PictureError",
    "TrainingError",
    "load",
    "open_picture",
]

_HOME = {
    "CaptionOptions": "coca_model.generate",
    "CheckpointError": "coca_model.errors",
    "CoCaConfig": "coca_model.config",
    "CocaModelError": "coca_model.errors",
    "Encoder": "coca_model.encoder",
    "PictureError": "coca_model.errors",
    "TrainingError": "coca_model.errors",
    "load": "coca_model.encoder",
    "open_picture": "coca_model.preprocess",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
