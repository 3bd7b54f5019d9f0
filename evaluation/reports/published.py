"""Figures of the papers, to stand beside ours. Percent; the median rank is a rank.

CoCa: Yu et al. 2022, "CoCa: Contrastive Captioners are Image-Text Foundation Models", arXiv 2205.01917, the 2.1B model.
COTS: Lu et al. 2022, "COTS: Collaborative Two-Stream Vision-Language Pre-Training Model for Cross-Modal Retrieval", arXiv 2204.07441.
"""

from evaluation.reports.report import Measure, Row

COCA, COTS = "Yu et al. 2022, arXiv 2205.01917", "Lu et al. 2022, arXiv 2204.07441"
_RECALL = ("R@1", "R@5", "R@10")
_RECALL_AND_RANK = (*_RECALL, "median rank")


def _row(name: str, source: str, columns: tuple[str, ...], *figures: float) -> Row:
    return Row(name, {column: Measure(figure) for column, figure in zip(columns, figures, strict=True)}, source)


_COCA = "CoCa, zero-shot"
_COTS = "COTS"

# (protocol, direction) -> rows
RETRIEVAL: dict[tuple[str, str], tuple[Row, ...]] = {
    ("msrvtt", "text to video"): (
        _row(_COCA, COCA, _RECALL, 30.0, 52.4, 61.6),
        _row(_COTS, COTS, _RECALL_AND_RANK, 32.1, 60.8, 70.2, 3),
    ),
    ("msrvtt", "video to text"): (_row(_COCA, COCA, _RECALL, 49.9, 73.4, 81.4),),
    ("msrvtt-1ka", "text to video"): (_row(_COTS, COTS, _RECALL_AND_RANK, 36.8, 63.8, 73.2, 2),),
    ("flickr30k", "picture to text"): (_row(_COCA, COCA, _RECALL, 92.5, 99.5, 99.9),),
    ("flickr30k", "text to picture"): (_row(_COCA, COCA, _RECALL, 80.4, 95.7, 97.7),),
    ("coco", "picture to text"): (_row(_COCA, COCA, _RECALL, 66.3, 86.2, 91.8),),
    ("coco", "text to picture"): (_row(_COCA, COCA, _RECALL, 51.2, 74.2, 82.0),),
}

# protocol -> rows, top-1 accuracy
ZERO_SHOT: dict[str, tuple[Row, ...]] = {
    protocol: (_row(_COCA, COCA, ("top-1",), figure),)
    for protocol, figure in {
        "imagenet": 86.3,
        "imagenet-v2": 80.7,
        "imagenet-a": 90.2,
        "imagenet-r": 96.5,
        "imagenet-sketch": 77.6,
        "objectnet": 82.7,
    }.items()
}

# protocol -> rows, top-1 accuracy of an attentional pooler on the frozen encoder
FROZEN: dict[str, tuple[Row, ...]] = {
    protocol: (_row("CoCa, frozen", COCA, ("top-1",), figure),)
    for protocol, figure in {"kinetics-400": 88.0, "kinetics-600": 88.5, "kinetics-700": 81.1, "moments-in-time": 47.4}.items()
}

CAPTION: dict[str, tuple[Row, ...]] = {
    "coco": (_row("CoCa, fine-tuned", COCA, ("BLEU-4", "METEOR", "CIDEr", "SPICE"), 40.9, 33.9, 143.6, 24.7),),
}

# protocol -> how many media or classes the published figures were measured on, and which
_MEASURED_ON = {
    "coco": (5000, "pictures of Karpathy's test split"),
    "flickr30k": (1000, "pictures of Karpathy's test split"),
    "msrvtt": (2990, "videos of the full test split"),
    "msrvtt-1ka": (1000, "videos of the 1k-A test"),
    "imagenet": (1000, "classes"),
    "imagenet-v2": (1000, "classes"),
    "imagenet-a": (200, "classes"),
    "imagenet-r": (200, "classes"),
    "imagenet-sketch": (1000, "classes"),
    "objectnet": (113, "classes of ImageNet"),
    "kinetics-400": (400, "classes"),
    "kinetics-600": (600, "classes"),
    "kinetics-700": (700, "classes"),
}


def measured_on(protocol: str, count: int) -> str:
    """What the published figures of a protocol are of, and a warning where `count` media or classes are something else."""
    if protocol not in _MEASURED_ON:
        return ""
    many, what = _MEASURED_ON[protocol]
    here = "" if count == many else f" Here are {count:,}: the two cannot be compared."
    return f"Published figures are of {many:,} {what}.{here}"
