"""Each step of the ranking, tested separately."""

import numpy as np
import pytest

from indexer import index
from search import open_collection
from search.ranking import Candidates, calibrate, collapse, fuse, rank, rerank, retrieve
from search.request import SearchRequest
from search.schema import segment_id_of
from tests.fakes import COLOURS, FakeEncoder, write_film, write_picture


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranking")
    for colour in COLOURS:
        write_picture(folder / "library" / f"{colour}.png", colour)
    write_film(folder / "library" / "film.mp4", [("red", 3.0), ("green", 3.0), ("red", 3.0)])
    index(folder / "library", collection=folder / "c", encoder=FakeEncoder())
    return open_collection(folder / "c", encoder=FakeEncoder()).snapshot


def vector(colour):
    return FakeEncoder().encode_texts([colour])[0]


def candidates(*files):
    ids = np.array([segment_id_of(file, ordinal) for file, ordinal in files], np.int64)
    return Candidates(ids, np.linspace(1, 0, len(ids), dtype=np.float32))


def test_retrieve_gives_the_nearest_segments_of_the_requested_kinds(snapshot):
    found = retrieve(snapshot, vector("red"), SearchRequest("red", kinds=("shot",)), 100)
    assert {row["kind"] for row in snapshot.rows(found.segment_ids)} == {"shot"}
    assert found.similarity.tolist() == sorted(found.similarity.tolist(), reverse=True)


def test_retrieve_searches_only_the_segments_that_pass_the_filter(snapshot):
    found = retrieve(snapshot, vector("red"), SearchRequest("red", where="start_seconds > 1"), 100)
    assert found.are_all
    assert [row["start_seconds"] for row in snapshot.rows(found.segment_ids)] == pytest.approx([6.0, 3.0], abs=0.6)


@pytest.mark.parametrize(("wanted", "are_all"), [(1, False), (9, False), (10, True), (1000, True)])
@pytest.mark.parametrize("where", [None, "width > 0"])
def test_retrieve_says_whether_it_returned_all_segments(snapshot, wanted, are_all, where):
    assert len(snapshot) == 10 if where is None else len(snapshot.filtered(where)) == 10
    found = retrieve(snapshot, vector("red"), SearchRequest("red", kinds=("image", "shot", "clip"), where=where), wanted)
    assert (len(found), found.are_all) == (min(wanted, 10), are_all)


def test_collapse_keeps_the_best_segment_of_each_file_in_order():
    found = candidates((7, 1), (3, 0), (7, 2), (5, 4), (3, 9))
    collapsed = collapse(found, SearchRequest("x"))
    assert collapsed.segment_ids.tolist() == found.segment_ids[[0, 1, 3]].tolist()
    assert collapsed.similarity.tolist() == found.similarity[[0, 1, 3]].tolist()
    assert collapse(found, SearchRequest("x", group_by_file=False)) is found


def test_unused_steps_return_their_candidates_unchanged():
    found = candidates((1, 0), (2, 0))
    assert fuse([found]) is found
    assert rerank(found, SearchRequest("x")) is found
    assert calibrate(found) is found


@pytest.mark.parametrize("k", [1, 3, 7, 50])
def test_rank_gives_k_files_although_a_video_has_many_moments(snapshot, k):
    assert len(rank(snapshot, vector("red"), SearchRequest("red", k=k))) == min(k, 7)


def test_a_filter_without_matches_gives_no_hits(snapshot):
    assert len(rank(snapshot, vector("red"), SearchRequest("red", where="width < 0"))) == 0
