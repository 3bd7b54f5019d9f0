"""What can go wrong in `coca_model`.

CocaModelError
├── CheckpointError   a checkpoint is missing, incomplete, or does not fit its config
└── PictureError      bytes that are no picture, or a picture too large to open
"""


class CocaModelError(Exception):
    """Base of every error raised on purpose by `coca_model`."""


class CheckpointError(CocaModelError):
    """A checkpoint is missing, incomplete, or does not fit its config."""


class PictureError(CocaModelError):
    """Bytes that are no picture, or a picture too large to open."""
