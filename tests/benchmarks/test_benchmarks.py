"""Small runs of the benchmarks that do not need open_clip: the compared sides agree, and each run ends with one result."""

import sys
from importlib import import_module

import pytest

from benchmarks import run
from benchmarks.measure.result import Result, read_result

RATIOS = {
    "index": [
        f"{pair}, {size}"
        for size in ("500 x 375", "12 megapixels")
        for pair in ("index to limit", "index to plain loop", "index, nothing changed to index")
    ],
    "films": ["index to PyAV, key frames every 2 s", "index to PyAV, key frames every 10 s"],
    "search": [
        "exact ranking, FAISS: exact to FAISS",
        "exact ranking, NumPy: exact to NumPy",
        "rows of 20 hits: snapshot to in memory",
        "rows of 2,000 hits: snapshot to in memory",
        "vector: search() to in memory",
        "vector, k 1,000: search() to in memory",
        "vector, a half: search() to in memory",
        "vector, a hundredth: search() to in memory",
        "vector, a ten-thousandth: search() to in memory",
        "words: search() to in memory",
        "vector: 8 callers to 1 caller",
        "vector: search_many() to 1 caller",
    ],
    "search_million": [
        f"{what} to NumPy"
        for what in (
            "vector",
            "vector, k 1,000",
            "vector, a half",
            "vector, a hundredth",
            "vector, a ten-thousandth",
            "vector, exact",
        )
    ],
    "service": ["service to search() in the process", "8 clients to 1"],
    "open": ["with snapshot to without", "checkpoint, this machine's dtype to float32"],
}
NUM_SIDES = {"index": 8, "films": 4, "search": 23, "search_million": 14, "service": 4, "open": 5}


@pytest.fixture(scope="module", params=RATIOS)
def result(request):
    """The result of each benchmark. One runs in a separate process like the runner's; the others run here, which is faster."""
    name = request.param
    if name == "open":
        return run.run_one(name, small=True), name
    return import_module(f"benchmarks.bench_{name}").measure(small=True), name


def test_a_benchmark_ends_with_a_result_of_positive_figures(result):
    found, name = result
    assert isinstance(found, Result)
    assert read_result(found.line()) == found
    assert found.benchmark == name
    assert found.threads >= 1
    figures = [value for side in found.sides.values() for value in side.values()]
    assert min([*figures, *found.ratios.values(), *found.size.values()]) > 0
    assert found.agreement


def test_a_benchmark_has_the_expected_ratios_and_sides(result):
    found, name = result
    assert list(found.ratios) == RATIOS[name]
    assert len(found.sides) == NUM_SIDES[name]


def test_a_result_contains_no_path(result):
    found, _ = result
    assert "/" not in found.line()


def test_every_name_has_a_module():
    assert sorted(f"bench_{name}" for name in run.NAMES) == sorted(file.stem for file in (run.ROOT / "benchmarks").glob("bench_*.py"))


def test_benchmarks_run_with_the_same_python():
    assert run.command("open", small=False) == [sys.executable, "-m", "benchmarks.run", "--here", "open"]
