"""What can go wrong in `evaluation`.

EvaluationError
├── DatasetError           a data set that cannot be read: the message names the file and the record
├── UnreadableMediaError   a picture or video of a data set that cannot be decoded
└── MetricError            a metric needs something that this machine lacks
"""


class EvaluationError(Exception):
    """Base of every error raised on purpose by `evaluation`."""


class DatasetError(EvaluationError):
    """A data set that cannot be read."""


class UnreadableMediaError(EvaluationError):
    """A picture or video of a data set that cannot be decoded."""


class MetricError(EvaluationError):
    """A metric needs something that this machine lacks."""
