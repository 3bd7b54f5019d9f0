"""A report as one HTML file that needs nothing beside it."""

import base64
from pathlib import Path

from jinja2 import Environment

from evaluation.datasets.dataset import Medium
from evaluation.features.decode import frame_to_show
from evaluation.reports.parts import cells
from media import MediaError, make_thumbnail


def render(report: object, chart: bytes) -> str:
    """The template page.html, filled with a report and its chart, a PNG. Pictures are embedded."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
    return template.render(report=report, chart=base64.b64encode(chart).decode(), cells=cells, thumbnail=_thumbnail)


def _thumbnail(medium: Medium) -> str:
    """A small WebP in base64, or nothing if the medium cannot be read."""
    try:
        return base64.b64encode(make_thumbnail(frame_to_show(medium))).decode()
    except (MediaError, OSError):
        return ""
