"""Evaluation of a real collection of colours with a user's queries."""

import csv
import math
import time

import numpy as np
import pytest
from PIL import Image

from evaluation.errors import DatasetError
from evaluation.tasks import collection as module
from evaluation.tasks.collection import OwnQuery, evaluate_collection, read_own_queries_of
from indexer import index
from search import open_collection
from tests.fakes import COLOURS, FakeEncoder, write_film, write_picture


class ScoringEncoder(FakeEncoder):
    """An encoder whose decoder score rises with the cosine of picture and text."""

    def score(self, pictures, texts):
        if pictures is None:
            return np.zeros(len(texts), np.float32)
        return 5 * self.encode_images(pictures) @ self.encode_texts(texts).T


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    for colour in COLOURS:
        write_picture(folder / "library" / "2019" / f"{colour}.png", colour)
    write_picture(folder / "library" / "2020" / "red.png", "red", size=(200, 100))
    write_film(folder / "library" / "film.mp4", [("green", 4.0), ("blue", 4.0)])
    index(folder / "library", collection=folder / "collection", encoder=ScoringEncoder())
    return folder


@pytest.fixture(scope="module")
def collection(folder):
    return open_collection(folder / "collection", encoder=ScoringEncoder())


def queries_file(folder, *rows):
    with (folder / "queries.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("query", "path"), *rows])
    return folder / "queries.csv"


def figures(report, title, row=0):
    (table,) = [table for table in report.tables if table.title == title]
    return {name: measure.value for name, measure in table.rows[row].values.items()}


def test_a_path_may_be_complete_or_a_suffix(folder, collection, tmp_path):
    library = folder / "library"
    file = queries_file(tmp_path, ("red", "2019/red.png"), ("red", library / "2020/red.png"), ("a day at sea", ""), ("film", "film.mp4"))
    assert read_own_queries_of(collection, file) == (
        OwnQuery("red", frozenset({str(library / "2019/red.png"), str(library / "2020/red.png")})),
        OwnQuery("a day at sea", frozenset()),
        OwnQuery("film", frozenset({str(library / "film.mp4")})),
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("red", "red.png")], r"queries\.csv: line 2: the path 'red\.png' matches 2 files"),
        (
            [("red", "2019/red.png"), ("blue", "nothing.png")],
            r"queries\.csv: line 3: the path 'nothing\.png' matches no file of the collection",
        ),
        ([(" ", "film.mp4")], r"queries\.csv: line 2: the query is empty"),
        ([("red", "film.mp4"), ("red", "film.mp4")], r"line 3: the pair .* appears twice"),
        ([], r"queries\.csv: contains no query"),
    ],
)
def test_an_unusable_query_is_named(collection, tmp_path, rows, message):
    with pytest.raises(DatasetError, match=message):
        read_own_queries_of(collection, queries_file(tmp_path, *rows))


def test_planted_answers_are_found_exactly(folder, collection):
    queries = [OwnQuery(colour, frozenset({str(folder / f"library/2019/{colour}.png")})) for colour in ("yellow", "black", "white")]
    report = evaluate_collection(collection, queries)
    assert figures(report, "what is found") == {"R@1": 100, "R@5": 100, "R@10": 100, "MRR": 100}
    assert figures(report, "index against exact search") == {"recall@9": 100}
    assert figures(report, "gain of reranking") == {"R@1": 0, "R@5": 0, "R@10": 0, "MRR": 0}


def test_planted_mistakes_lower_recall_to_half(folder, collection):
    right, wrong = str(folder / "library/2019/white.png"), str(folder / "library/2019/black.png")
    report = evaluate_collection(collection, [OwnQuery("white", frozenset({right})), OwnQuery("yellow", frozenset({wrong}))])
    found = figures(report, "what is found")
    assert found["R@1"] == 50
    assert 50 < found["MRR"] < 75


class DecoderOnly(ScoringEncoder):
    """An encoder whose text vectors ignore the text, while its decoder score uses it."""

    def encode_texts(self, texts):
        return np.repeat(self.encode_images([Image.new("RGB", (8, 8), (120, 130, 140))]), len(texts), axis=0)

    def score(self, pictures, texts):
        if pictures is None:
            return np.zeros(len(texts), np.float32)
        return 1000 * self.encode_images(pictures) @ ScoringEncoder().encode_texts(texts).T


def test_the_gain_of_reranking_is_the_improvement_by_the_decoder(folder):
    collection = open_collection(folder / "collection", encoder=DecoderOnly())
    queries = [OwnQuery(colour, frozenset({str(folder / f"library/2019/{colour}.png")})) for colour in ("yellow", "black", "white")]
    report = evaluate_collection(collection, queries)
    before, after = (figures(report, "what is found", row)["R@1"] for row in (0, 1))
    assert after == 100
    assert figures(report, "gain of reranking")["R@1"] == pytest.approx(after - before)
    assert before < 100


class SlowDecoder(ScoringEncoder):
    """An encoder with a slow decoder."""

    def score(self, pictures, texts):
        time.sleep(0.05)
        return super().score(pictures, texts)


def test_the_time_of_the_decoder_counts_only_in_the_latency_of_reranking(folder):
    report = evaluate_collection(open_collection(folder / "collection", encoder=SlowDecoder()), [OwnQuery("red", frozenset())])
    plain, reranked = (figures(report, "latency, ms", row)["p50"] for row in (0, 1))
    assert reranked - plain >= 2 * 50  # the decoder runs with and without the picture


def test_missing_hits_lower_the_recall_of_the_index(collection, monkeypatch):
    real = module.search

    def forgetful(query, **options):
        hits = real(query, **options)
        return hits[:-3] if isinstance(query, np.ndarray) else hits

    monkeypatch.setattr(module, "search", forgetful)
    report = evaluate_collection(collection, [OwnQuery("red", frozenset()), OwnQuery("blue", frozenset())])
    assert figures(report, "index against exact search") == {"recall@9": pytest.approx(100 * 6 / 9)}


def test_recall_does_not_depend_on_the_length_of_the_shortlist(folder, collection):
    query = OwnQuery("yellow", frozenset({str(folder / "library/2019/black.png")}))
    rows = [evaluate_collection(collection, [query], shortlist=shortlist).tables[0].rows[0].values for shortlist in (1, 5, 50)]
    assert rows[0] == rows[1] == rows[2]


def test_latencies_are_measured_without_judged_queries(folder, collection):
    report = evaluate_collection(collection, [OwnQuery("red", frozenset()), OwnQuery("blue", frozenset())])
    for row in (0, 1):
        latency = figures(report, "latency, ms", row)
        assert 0 < latency["p50"] <= latency["p99"] < math.inf
    assert all(table.title != "what is found" for table in report.tables)  # no query has an answer


def test_a_calibration_curve_needs_twenty_judged_queries(folder, collection):
    few = evaluate_collection(collection, [OwnQuery("red", frozenset({str(folder / "library/2019/red.png")}))])
    assert any("needs 20 queries" in table.note for table in few.tables)
    many = [OwnQuery(f"thing {n}", frozenset()) for n in range(30)]
    library = [str(path) for path in sorted((folder / "library/2019").iterdir())]
    judged = [OwnQuery(query.text, frozenset(library[n % 6 : n % 6 + 3])) for n, query in enumerate(many)]
    report = evaluate_collection(collection, judged)
    assert [curve.title for curve in report.curves] == ["calibration"]
    assert 0 <= figures(report, "calibration")["expected calibration error"] <= 100


def test_an_example_shows_the_found_moment(folder, collection):
    film = OwnQuery("green", frozenset({str(folder / "library/film.mp4")}))
    report = evaluate_collection(collection, [film])
    (example,) = report.examples
    assert example.title == "green (rank 2)"  # the plain green picture is nearer than the compressed green of the video
    words = {medium.name: words for medium, words in example.found}
    assert words["film.mp4"].endswith("0.0–4.0 s ✓") or ", 0.0" in words["film.mp4"]
    assert all(medium.path.suffix == ".webp" and medium.path.exists() for medium, _ in example.found)


def test_every_query_has_a_record(folder, collection):
    white = OwnQuery("white", frozenset({str(folder / "library/2019/white.png")}))
    first, second = evaluate_collection(collection, [white, OwnQuery("the sea", frozenset())]).records
    assert (first["query"], first["rank"], first["rank reranked"], first["first hit"].endswith("white.png")) == ("white", 1, 1, True)
    assert (second["rank"], second["rank reranked"]) == (None, None)


def test_a_collection_with_broken_files_only_is_refused(tmp_path):
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "broken.jpg").write_bytes(b"x")
    index(tmp_path / "library", collection=tmp_path / "collection", encoder=ScoringEncoder())
    opened = open_collection(tmp_path / "collection", encoder=ScoringEncoder())
    with pytest.raises(DatasetError, match=r"collection: the collection holds no picture or moment"):
        evaluate_collection(opened, [OwnQuery("red", frozenset())])
