"""Published figures to compare with, in percent, except the median rank.

CoCa: Yu et al. 2022, "CoCa: Contrastive Captioners are Image-Text Foundation Models", arXiv 2205.01917, the 2.1B model.
COTS: Lu et al. 2022, "COTS: Collaborative Two-Stream Vision-Language Pre-Training Model for Cross-Modal Retrieval", arXiv 2204.07441.
"""

from evaluation.measures.intervals import Measure
from evaluation.reports.parts import Row

COCA, COTS = "Yu et al. 2022, arXiv 2205.01917", "Lu et al. 2022, arXiv 2204.07441"
_RECALL = ("R@1", "R@5", "R@10", "median rank")
_CAPTION = ("BLEU-4", "METEOR", "CIDEr", "SPICE")


def _row(*figures: float, name: str = "CoCa, zero-shot", source: str = COCA, columns: tuple[str, ...] = _RECALL) -> Row:
    return Row(name, {column: Measure(figure) for column, figure in zip(columns, figures, strict=False)}, source)


def _top1(setting: str, figures: dict[str, float]) -> dict[str, tuple[Row, ...]]:
    return {protocol: (_row(figure, name=f"CoCa, {setting}", columns=("top-1",)),) for protocol, figure in figures.items()}


FIGURES: dict[str, dict[str, tuple[Row, ...]]] = {  # task -> protocol -> rows
    "text to video": {
        "msrvtt": (_row(30.0, 52.4, 61.6), _row(32.1, 60.8, 70.2, 3, name="COTS", source=COTS)),
        "msrvtt-1ka": (_row(36.8, 63.8, 73.2, 2, name="COTS", source=COTS),),
    },
    "video to text": {"msrvtt": (_row(49.9, 73.4, 81.4),)},
    "picture to text": {"flickr30k": (_row(92.5, 99.5, 99.9),), "coco": (_row(66.3, 86.2, 91.8),)},
    "text to picture": {"flickr30k": (_row(80.4, 95.7, 97.7),), "coco": (_row(51.2, 74.2, 82.0),)},
    "zero-shot": _top1(
        "zero-shot",
        {"imagenet": 86.3, "imagenet-v2": 80.7, "imagenet-a": 90.2, "imagenet-r": 96.5, "imagenet-sketch": 77.6, "objectnet": 82.7},
    ),
    # an attentional pooler on the frozen encoder
    "frozen": _top1("frozen", {"kinetics-400": 88.0, "kinetics-600": 88.5, "kinetics-700": 81.1, "moments-in-time": 47.4}),
    "captions": {"coco": (_row(40.9, 33.9, 143.6, 24.7, name="CoCa, fine-tuned", columns=_CAPTION),)},
}

_MEASURED_ON = {  # protocol -> how many media or classes the figures were measured on
    "coco": (5000, "pictures of Karpathy's test split"),
    "flickr30k": (1000, "pictures of Karpathy's test split"),
    "msrvtt": (2990, "videos of the full test split"),
    "msrvtt-1ka": (1000, "videos of the 1k-A test"),
    "objectnet": (113, "classes of ImageNet"),
    **dict.fromkeys(("imagenet", "imagenet-v2", "imagenet-sketch"), (1000, "classes")),
    **dict.fromkeys(("imagenet-a", "imagenet-r"), (200, "classes")),
    **{f"kinetics-{count}": (count, "classes") for count in (400, 600, 700)},
}


def published(task: str, protocol: str, count: int) -> tuple[tuple[Row, ...], str]:
    """The published figures of a protocol, and a note on their test set, with a warning if it does not have `count` media or classes."""
    rows = FIGURES.get(task, {}).get(protocol, ())
    if not rows or protocol not in _MEASURED_ON:
        return rows, ""
    measured, what = _MEASURED_ON[protocol]
    here = "" if count == measured else f" This set has {count:,}, so they cannot be compared."
    return rows, f"The published figures are for {measured:,} {what}.{here}"
