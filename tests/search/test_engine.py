"""`search()`: planted truth, filters, grouping and invalid queries."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer import index
from search import Hit, QueryError, open_collection, search, search_many
from tests.fakes import COLOURS, FakeEncoder, write_film, write_picture


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    for number, colour in enumerate(COLOURS):
        write_picture(folder / "library" / f"{colour}.png", colour, size=(100 + number, 50))
    write_film(folder / "library" / "film.mp4", [("red", 5.0), ("green", 5.0), ("red", 5.0), ("blue", 5.0)])
    index(folder / "library", collection=folder / "collection", encoder=FakeEncoder())
    return open_collection(folder / "collection", encoder=FakeEncoder())


@pytest.mark.parametrize("colour", list(COLOURS))
def test_the_planted_picture_comes_first(collection, colour):
    hit = search(colour, collection=collection, kinds=["image"])[0]
    assert hit.uri.endswith(f"{colour}.png")
    assert hit.similarity == pytest.approx(1.0, abs=1e-5)


def test_hits_are_sorted_and_a_large_k_gives_all(collection):
    hits = search("red", collection=collection, k=100)
    assert len(hits) == 7
    assert [hit.similarity for hit in hits] == sorted((hit.similarity for hit in hits), reverse=True)


def test_a_video_gives_its_best_moment_or_every_moment_without_grouping(collection):
    grouped = [hit for hit in search("blue", collection=collection, k=100) if hit.kind == "shot"]
    single = [hit for hit in search("blue", collection=collection, k=100, group_by_file=False) if hit.kind == "shot"]
    assert len(grouped) == 1
    assert grouped[0].start_seconds == pytest.approx(15.0, abs=0.7)
    assert len(single) == 4
    assert single[0] == grouped[0]


def test_clips_are_found_on_request(collection):
    hits = search("red", collection=collection, kinds=["clip"])
    assert [(hit.kind, hit.start_seconds) for hit in hits] == [("clip", 0.0)]


def test_many_moments_of_one_video_do_not_crowd_out_the_other_files(collection):
    assert len(search("red", collection=collection, k=3)) == 3


@pytest.mark.parametrize(("where", "count"), [("width >= 104", 3), ("kind = 'image' AND uri LIKE '%e%'", 6), ("width > 9000", 0)])
def test_a_filter_limits_the_hits(collection, where, count):
    assert len(search("red", collection=collection, where=where)) == count


def test_a_filter_with_a_single_match_finds_it(collection):
    (hit,) = search("red", collection=collection, k=1, where="uri LIKE '%blue.png'")
    assert hit.uri.endswith("blue.png")


def test_a_filter_cannot_widen_the_kinds(collection):
    with pytest.raises(QueryError, match="closed that was not opened"):
        search("red", collection=collection, kinds=["image"], where="true) OR (true")


def test_text_picture_and_vector_queries_find_the_same_hits(collection, tmp_path):
    path = write_picture(tmp_path / "query.png", "green")
    vector = FakeEncoder().encode_texts(["green"])[0] * 7
    answers = [search(query, collection=collection, k=3) for query in ("green", path, Image.open(path), vector)]
    assert all([hit.uri for hit in hits] == [hit.uri for hit in answers[0]] for hits in answers)


def test_hits_convert_to_an_arrow_table_with_the_same_values(collection):
    hits = search("red", collection=collection, k=4)
    table = hits.to_arrow()
    assert table["uri"].to_pylist() == [hit.uri for hit in hits]
    assert Hit(**table.to_pylist()[0]) == replace(hits[0], similarity=table["similarity"][0].as_py())
    assert search("red", collection=collection, where="false").to_arrow().num_rows == 0


@pytest.mark.parametrize(
    ("query", "options", "message"),
    [
        ("  ", {}, "The query is empty"),
        ("red", {"k": 0}, r"k is out of range \(0\)"),
        ("red", {"k": 10_001}, r"k is out of range \(10001\)"),
        ("red", {"kinds": ["movie"]}, r"Unknown kind \(movie\). Allowed: image, shot, clip"),
        ("red", {"where": "colour = 1"}, r"The filter cannot be used .*colour"),
        ("red", {"where": "width >"}, "The filter cannot be used"),
        (np.zeros(48, np.float32), {}, r"largest number 0.0"),
        (np.full(48, np.nan, np.float32), {}, r"largest number nan"),
        (np.ones(7, np.float32), {}, r"shape \(7,\)"),
        (None, {}, r"The query cannot be used \(None\)"),
        ([0.1] * 48, {}, r"The query cannot be used \(\[0.1"),
        (np.array("dog"), {}, "The query cannot be used"),
        (np.float32(3), {}, "The query cannot be used"),
        (object(), {}, "The query cannot be used"),
        (np.ones(48, complex), {}, "The query cannot be used"),
        *[("red", {"k": k}, "k is no whole number") for k in (2.0, "5", None, [3])],
        ("red", {"kinds": []}, "No kind is given"),
        *[("red", {"kinds": [kind]}, "Unknown kind") for kind in (1, None, ["image"])],
        ("red", {"where": 5}, r"The filter is no text \(5\)"),
    ],
)
def test_an_invalid_query_is_refused_with_the_reason(collection, query, options, message):
    with pytest.raises(QueryError, match=message):
        search(query, collection=collection, **options)


@pytest.mark.parametrize("k", [np.int64(3), np.int8(3), np.array(3)])
def test_k_may_be_any_integer(collection, k):
    assert len(search("red", collection=collection, k=k)) == 3


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e200])
def test_the_length_of_a_vector_does_not_matter(collection, scale):
    vector = FakeEncoder().encode_texts(["red"])[0]
    found = search(vector.astype(np.float64) * scale, collection=collection)
    assert [hit.uri for hit in found] == [hit.uri for hit in search(vector, collection=collection)]
    assert found[0].similarity == pytest.approx(1.0)


def test_one_kind_may_be_given_as_a_word(collection):
    assert {hit.kind for hit in search("red", collection=collection, kinds="clip")} == {"clip"}


def test_a_query_picture_that_cannot_be_read_is_named(collection, tmp_path):
    (tmp_path / "x.jpg").write_text("no picture")
    with pytest.raises(QueryError, match=r"x\.jpg: not a picture"):
        search(tmp_path / "x.jpg", collection=collection)


def test_an_empty_collection_gives_no_hits(tmp_path):
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "broken.jpg").write_bytes(b"x")
    index(tmp_path / "library", collection=tmp_path / "collection", encoder=FakeEncoder())
    empty = open_collection(tmp_path / "collection", encoder=FakeEncoder())
    assert len(search("red", collection=empty)) == 0
    assert len(search("red", collection=empty, where="width > 1")) == 0


@pytest.mark.parametrize("settings", [{}, {"k": 3}, {"k": 100, "group_by_file": False}, {"where": "width >= 104"}, {"kinds": "clip"}])
def test_many_queries_give_the_hits_of_each(collection, tmp_path, settings):
    queries = ["red", write_picture(tmp_path / "query.png", "green"), FakeEncoder().encode_texts(["blue"])[0], "red", *COLOURS]
    answers = search_many(queries, collection=collection, **settings)
    for query, hits in zip(queries, answers, strict=True):
        alone = search(query, collection=collection, **settings)
        assert [hit.similarity for hit in hits] == pytest.approx([hit.similarity for hit in alone], abs=1e-6)
        assert [hit.similarity for hit in hits] == sorted((hit.similarity for hit in hits), reverse=True)
        rounded, rounded_alone = ({replace(hit, similarity=round(hit.similarity, 4)) for hit in each} for each in (hits, alone))
        assert len(rounded & rounded_alone) >= len(alone) - (settings.get("k") == 3)  # equal cosines are rounded differently, in any order


def test_a_row_that_several_queries_find_is_a_hit_of_its_own_in_each_answer(collection, tmp_path, monkeypatch):
    monkeypatch.setattr("search.collection.publish._ROWS_PER_BATCH", 2)
    folder = Path(collection.snapshot.rows(collection.snapshot.segment_ids)[0]["uri"]).parent
    index(folder, collection=tmp_path, encoder=FakeEncoder())
    in_batches = open_collection(tmp_path, encoder=FakeEncoder())
    assert len(in_batches.snapshot._batches) > 2
    red, blue = search_many(["red", "blue"], collection=in_batches)
    similarity = {hit.uri: hit.similarity for hit in blue}
    assert all(hit.similarity != similarity[hit.uri] for hit in red if hit.uri.endswith(("red.png", "blue.png")))
    assert [hit.similarity for hit in red] == pytest.approx([hit.similarity for hit in search("red", collection=in_batches)], abs=1e-6)


def test_no_query_gives_no_answer(collection):
    assert search_many([], collection=collection) == []


def test_many_queries_may_be_an_array_of_texts_and_no_single_text(collection):
    found, wanted = (search_many(queries, collection=collection) for queries in (np.array(["red", "blue"]), ["red", "blue"]))
    assert [list(hits) for hits in found] == [list(hits) for hits in wanted]
    with pytest.raises(QueryError, match="a list of queries"):
        search_many("red", collection=collection)


@pytest.mark.parametrize(("bad", "message"), [("", "empty"), (np.zeros(3), "vector"), (["red"], "cannot be used")])
def test_a_query_of_many_that_cannot_be_used_is_named(collection, bad, message):
    with pytest.raises(QueryError, match=rf"^Query 1: .*{message}"):
        search_many(["red", bad], collection=collection)
