"""What can go wrong in `training`.

TrainingError   training data, or a setting of a run, that cannot be used: the message names the file or the value
"""


class TrainingError(Exception):
    """Base of every error raised on purpose by `training`."""
