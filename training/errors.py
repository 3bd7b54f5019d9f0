"""The errors of `training`.

TrainingError   training data or a setting that cannot be used; the message names the file or the value
"""


class TrainingError(Exception):
    """Base of every error raised on purpose by `training`."""
