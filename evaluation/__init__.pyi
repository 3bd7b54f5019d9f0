from .errors import EvaluationError
from .features.extract import FeatureSource
from .reports.report import Report
from .tasks.captions import CaptionEvaluation, evaluate_captions
from .tasks.collection import evaluate_collection
from .tasks.moments import evaluate_moments
from .tasks.probe import evaluate_probe
from .tasks.retrieval import evaluate_retrieval
from .tasks.zero_shot import evaluate_zero_shot

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
