"""The wire form of requests and hits."""

import json
from pathlib import Path

import numpy as np
import pytest

from search import QueryError
from search.hits import Hit, RemoteHit
from search.request import SearchRequest
from tests.fakes import a_hit


@pytest.mark.parametrize(
    "request_",
    [
        SearchRequest("a dog"),
        SearchRequest("a dog", 5, ("clip",), "width > 5", False),
        SearchRequest("é 🐈", where="camera IS NULL"),
        SearchRequest("a", kinds=("image", "clip")),
    ],
)
def test_a_request_survives_its_wire_form(request_):
    assert SearchRequest.from_wire(json.loads(json.dumps(request_.to_wire()))) == request_


def test_a_vector_survives_its_wire_form():
    vector = np.random.default_rng(0).normal(size=48).astype(np.float32)
    found = SearchRequest.from_wire(json.loads(json.dumps(SearchRequest(vector).to_wire())))
    np.testing.assert_array_equal(found.query, vector)


def test_a_picture_query_has_no_wire_form():
    with pytest.raises(QueryError, match="cannot be sent"):
        SearchRequest(Path("a.jpg")).to_wire()


@pytest.mark.parametrize("hit", [a_hit(), a_hit(kind="shot", start_seconds=1.0, end_seconds=2.5, frame_seconds=1.5, camera="é")])
def test_a_hit_survives_its_wire_form(hit):
    addresses = {"file": "unchanged", "media_url": "http://h/m", "thumbnail_url": "http://h/t"}
    wire = json.loads(json.dumps(hit.to_wire() | addresses))
    found = RemoteHit.from_wire(wire | {"a column of a newer service": 1})
    assert Hit(**{name: value for name, value in vars(found).items() if name not in addresses}) == hit
