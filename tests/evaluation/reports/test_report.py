"""A report as JSON, Markdown, chart, HTML page and CSV."""

import base64
import csv
import io
import json
import re
from dataclasses import replace

import pytest
from PIL import Image

from evaluation.datasets.dataset import Medium
from evaluation.errors import EvaluationError
from evaluation.measures.intervals import Measure
from evaluation.reports.chart import draw
from evaluation.reports.parts import Curve, Example, Line, Row, Table, shown
from evaluation.reports.report import Report
from tests.fakes import write_film, write_picture


@pytest.fixture
def report(tmp_path):
    red = Medium("red", write_picture(tmp_path / "red.png", "red"), "image", "set: 1")
    film = Medium("film", write_film(tmp_path / "film.mp4", [("blue", 1.0)]), "video", "set: 2")
    gone = Medium("gone", tmp_path / "gone.png", "image", "set: 3")
    ours = Row("ours", {"R@1": Measure(43.04, 41.6, 44.44), "median rank": Measure(3)})
    theirs = Row("theirs <b>", {"R@1": Measure(66.3)}, "Someone 2022")
    return Report(
        "retrieval",
        "A test <script>",
        (
            Table("text to picture", ("R@1", "median rank"), (ours, theirs), "A note.", bars=("R@1",)),
            Table("empty", (), (), "Nothing here."),
        ),
        {"model": "tiny"},
        (
            Curve("recall@k", "k", "recall, %", (Line("a", (1, 10, 100), (20.0, 50.0, 80.0)),), log_x=True),
            Curve("c", "x", "y", (Line("b", (0, 1), (0, 1)),), diagonal=True),
        ),
        (
            Example("a red thing & more", True, ((red, "0.93 ✓"), (film, "0.50"), (gone, "0.10"))),
            Example("a caption", None, ((red, "a person: red"),)),
        ),
        ("set: 3",),
        ({"text": "a, b", "rank": 1}, {"text": 'say "c"', "rank": None}),
    )


def chart_of(report):
    return draw(report.title, report.tables, report.curves)


def test_a_measure_is_shown_with_its_interval():
    assert shown(Measure(43.04, 41.6, 44.44)) == "43.0 (41.6–44.4)"
    assert shown(Measure(3)) == "3.0"


def test_json_contains_every_figure(report):
    document = json.loads(report.to_json())
    ours, theirs = document["tables"][0]["rows"]
    assert ours["values"] == {"R@1": {"value": 43.04, "low": 41.6, "high": 44.44}, "median rank": {"value": 3}}
    assert (theirs["source"], theirs["values"]) == ("Someone 2022", {"R@1": {"value": 66.3}})
    assert document["missing"] == ["set: 3"]
    assert document["curves"][0]["lines"][0]["y"] == [20.0, 50.0, 80.0]
    assert document["examples"][0]["found"][0] == ["red", "0.93 ✓"]


def test_markdown_leaves_cells_of_missing_measures_empty(report):
    lines = report.to_markdown().splitlines()
    assert "| ours | 43.0 (41.6–44.4) | 3.0 |" in lines
    assert "| theirs &lt;b> (Someone 2022) | 66.3 |  |" in lines
    assert "| ✓ a red thing &amp; more | `red` 0.93 ✓; `film` 0.50; `gone` 0.10 |" in lines
    assert "| a caption | `red` a person: red |" in lines
    assert "A note." in lines


def test_the_chart_is_a_png_at_least_1200_pixels_wide(report):
    picture = Image.open(io.BytesIO(chart_of(report)))
    assert picture.format == "PNG"
    assert picture.width >= 1200


def test_the_html_page_is_self_contained_and_escapes_its_texts(report):
    text = report.to_html(chart_of(report))
    assert "<script>" not in text
    assert "theirs &lt;b&gt;" in text
    assert "http" not in re.sub(r"data:image/[a-z]+;base64,[^\"]+", "", text)
    pictures = [Image.open(io.BytesIO(base64.b64decode(data))) for data in re.findall(r"data:image/webp;base64,([^\"]+)", text)]
    colours = [picture.getpixel((picture.width // 2, picture.height // 2)) for picture in pictures]
    assert [max(range(3), key=colour.__getitem__) for colour in colours] == [0, 2, 0]  # red, blue, red; the missing picture is a blank
    assert 'class="blank"' in text


def test_write_creates_the_five_files(report, tmp_path):
    written = report.write(tmp_path / "out" / "deep")
    assert [path.name for path in written] == ["report.json", "report.md", "report.png", "report.html", "records.csv"]
    assert sorted(path.name for path in (tmp_path / "out" / "deep").iterdir()) == [
        "records.csv",
        "report.html",
        "report.json",
        "report.md",
        "report.png",
    ]


def test_a_report_without_figures_is_still_written(tmp_path):
    Report("caption", "nothing", (Table("t", ("CIDEr",), (Row("ours", {}),), bars=("CIDEr",)),), {}).write(tmp_path)
    assert (tmp_path / "report.png").stat().st_size > 0


def test_a_folder_that_cannot_be_written_is_named(report, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EvaluationError, match=r"file/out: the report cannot be written"):
        report.write(tmp_path / "file" / "out")


def test_records_are_valid_csv(report):
    assert list(csv.DictReader(io.StringIO(report.records_csv()))) == [{"text": "a, b", "rank": "1"}, {"text": 'say "c"', "rank": ""}]


def test_a_report_states_its_size_and_the_meaning_of_its_columns(report):
    sized = replace(report, metadata={"pictures": 1000, "texts": 5000, "model": "x"})
    assert sized.size == "1,000 pictures, 5,000 texts"
    assert replace(report, metadata={"queries": 1, "classes": 1, "pictures": 1}).size == "1 picture, 1 class, 1 query"
    assert [meaning.split(":")[0] for meaning in report.meanings[1:]] == ["R@k", "Median rank"]


def test_special_characters_are_escaped_in_tables_and_charts(report, recwarn):
    odd = replace(report, title="AC$DC | $2 \\foo$ 照片", examples=(Example("a | b\n<script>", True, ()),), missing=("a|b",))
    assert chart_of(odd).startswith(b"\x89PNG")
    assert "| ✓ a \\| b &lt;script> |  |" in odd.to_markdown().splitlines()
    assert odd.to_markdown().endswith("## Left out\n\n- a\\|b\n")
    assert not recwarn.list
