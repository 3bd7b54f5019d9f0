"""What can go wrong in `evaluation`.

EvaluationError
├── DatasetError           a data set cannot be read: the message names the file and the record
├── UnreadableMediaError   a picture or video of a data set cannot be decoded
└── MetricError            a metric cannot be computed on this machine
"""


class EvaluationError(Exception):
    """Base of every error that `evaluation` raises on purpose."""


class DatasetError(EvaluationError):
    """A data set cannot be read."""


class UnreadableMediaError(EvaluationError):
    """A picture or video of a data set cannot be decoded."""


class MetricError(EvaluationError):
    """A metric cannot be computed on this machine."""
