from .errors import EvaluationError
from .features import FeatureSource
from .reports.report import Report
from .tasks.captions import CaptionEvaluation, evaluate_captions
from .tasks.classify import evaluate_zero_shot
from .tasks.collection import evaluate_collection
from .tasks.moments import evaluate_moments
from .tasks.probe import evaluate_probe
from .tasks.retrieval import evaluate_retrieval

__all__ = [
    "CaptionEvaluation",
    "EvaluationError",
    "FeatureSource",
    "Report",
    "evaluate_captions",
    "evaluate_collection",
    "evaluate_moments",
    "evaluate_probe",
    "evaluate_retrieval",
    "evaluate_zero_shot",
]
