from .captions import CaptionEvaluation, evaluate_captions
from .embed_media import FeatureSource
from .errors import EvaluationError
from .moments import evaluate_moments
from .own_collection import evaluate_collection
from .probe import evaluate_probe
from .report import Report
from .retrieval import evaluate_retrieval
from .zero_shot import evaluate_zero_shot

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
