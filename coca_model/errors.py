"""What can go wrong in `coca_model`.

CocaModelError
└── CheckpointError   a checkpoint is missing, incomplete, or does not fit its config

Pictures that cannot be opened raise `media.errors.PictureError`, which this package exports too.
"""

from media.errors import PictureError

__all__ = ["CheckpointError", "CocaModelError", "PictureError"]


class CocaModelError(Exception):
    """Base of every error raised on purpose by `coca_model`."""


class CheckpointError(CocaModelError):
    """A checkpoint is missing, incomplete, or does not fit its config."""
