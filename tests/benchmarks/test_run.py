"""The runner and its page: all figures are shown, failures are named, and no path or host name appears."""

import datetime
import json
import socket
import sys

import pytest
from PIL import Image

from benchmarks import run
from benchmarks.measure.result import Result, read_result
from benchmarks.report.markdown import Page, number
from benchmarks.report.this_machine import machine, versions

SWIM = Result(
    "swim",
    "Lengths an hour.",
    {"ours": {"lengths_per_hour": 40.0, "p50_ms": 1234.5}, "theirs": {"lengths_per_hour": 20.25}},
    {"ours to theirs": 1.975, "fins to none": 0.031},
    {"largest difference": 2.5e-7},
    {"pools": 3, "metres": 100_000},
    2,
)
RUNS = Result("runs", "Runs.", {"we": {"seconds": 0.01234}}, {"we to they": 12.34}, {"cosine": 0.99997}, {"runs": 5}, 1)


def page(**other) -> Page:
    given = {"results": [SWIM, RUNS], "failed": {"jump": "exit code 3"}, "command": "make bench", "date": datetime.date(2026, 1, 2)}
    return Page(**{**given, "machine": {"Processor": "An abacus"}, "versions": {"torch": "9.9"}, **other})


def script(*lines: str):
    return lambda name, *, small: [sys.executable, "-c", "\n".join(("import sys", f"name, small = {name!r}, {small}", *lines))]


@pytest.fixture
def canned(monkeypatch):
    """Replace the benchmarks. Each prints the result of SWIM under its name, but caption fails and score prints no result."""
    line = json.dumps(json.loads(SWIM.line()) | {"benchmark": "NAME"})
    lines = ("if name == 'caption': sys.exit(3)", f"print('working')\nprint('done' if name == 'score' else {line!r}.replace('NAME', name))")
    monkeypatch.setattr(run, "command", script(*lines))


def test_the_page_shows_every_name_and_figure():
    text = page().markdown("x.png")
    expected = """
        # Benchmarks|Written by `make bench` on 2026-01-02|**jump failed** (exit code 3)|(x.png)|An abacus|torch 9.9
        ## swim|Lengths an hour.|lengths per hour|p50 ms|40|1,234|20.2|ours to theirs|1.98|fins to none|0.031
        largest difference 2.5e-07|pools 3|metres 100,000|threads 2|## runs|0.0123|we to they|12.3|cosine 0.99997
    """
    assert [part for part in map(str.strip, expected.strip().replace("\n", "|").split("|")) if part not in text] == []


def test_tables_are_rectangular():
    rows = [line for line in page().markdown("x.png").splitlines() if line.startswith("|")]
    assert "| theirs | 20.2 |  |" in rows
    assert {row.count("|") for row in rows} == {3, 4}


def test_the_chart_is_written_beside_the_page_with_a_width_of_1600(tmp_path):
    page().write(tmp_path / "docs" / "figures.md")
    with Image.open(tmp_path / "docs" / "figures.png") as picture:
        assert picture.width == 1600
        assert "Software" not in picture.info
    assert "(figures.png)" in (tmp_path / "docs" / "figures.md").read_text()


def test_a_page_with_failures_only_has_no_chart(tmp_path):
    page(results=[]).write(tmp_path / "figures.md")
    assert [file.name for file in tmp_path.iterdir()] == ["figures.md"]
    assert "![" not in (tmp_path / "figures.md").read_text()


def test_a_failed_benchmark_is_named_the_others_run_and_the_exit_code_is_1(canned, tmp_path, capsys):
    assert run.main(["encode", "caption", "score", "open", "--page", str(tmp_path / "page.md")]) == 1
    text = (tmp_path / "page.md").read_text()
    assert "**caption failed** (exit code 3)" in text
    assert "**score failed** (its last line is not a result)" in text
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## encode", "## open"]
    printed = capsys.readouterr()
    assert [read_result(line).benchmark for line in printed.out.splitlines()] == ["encode", "open"]
    assert "[2/4] caption: failed, exit code 3" in printed.err


def test_only_a_full_run_writes_the_page_of_the_project(canned, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "PAGE", tmp_path / "benchmarks.md")
    assert run.main(["open"]) == 0
    assert run.main(["--small"]) == 1
    assert list(tmp_path.iterdir()) == []
    assert run.main([]) == 1
    assert "Written by `make bench`" in (tmp_path / "benchmarks.md").read_text()


def test_the_page_has_no_path_and_no_host_name(canned, tmp_path):
    run.main(["open", "--page", str(tmp_path / "page.md")])
    text = (tmp_path / "page.md").read_text()
    assert "Written by `python -m benchmarks.run open`" in text
    paths = {str(tmp_path), str(run.ROOT), sys.executable, sys.prefix, socket.gethostname()}
    assert [path for path in paths if path in text] == []


def test_the_machine_and_versions_contain_no_path_and_no_host_name():
    described = {**machine(), **versions()}
    assert {"Processor", "Cores", "Memory", "GPU", "Fast dtype", "python", "torch", "coca-search"} <= set(described)
    assert [value for value in described.values() if "/" in value or socket.gethostname() in value or not value] == []


def test_an_unknown_benchmark_name_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        run.main(["encod"])
    assert "Unknown benchmark (encod). Known: encode, caption" in capsys.readouterr().err


def test_a_result_can_be_read_from_its_line_and_other_lines_are_refused():
    assert read_result(SWIM.line()) == SWIM
    for line in ("", "{}", "[1]", '{"benchmark": "x", "other": 1}'):
        with pytest.raises(ValueError, match="Not the result of a benchmark"):
            read_result(line)


@pytest.mark.parametrize(("value", "text"), [(0.01234, "0.0123"), (4.5678, "4.57"), (99.96, "100"), (123.4, "123"), (7.0, "7"), (0.0, "0")])
def test_numbers_are_written_without_powers_of_ten(value, text):
    assert number(value) == text
