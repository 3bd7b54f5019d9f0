"""From a query vector to ranked segments, in five short steps over candidates.

    retrieve -> fuse -> rerank -> collapse -> calibrate

Each step takes candidates and returns candidates, best first. No step reads rows; only the final hits do.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.collection.snapshot import Snapshot
from search.request import SearchRequest
from search.schema import media_id_of_segment


@dataclass(frozen=True)
class Candidates:
    """Segments, best first: segment ids int64 (n,), cosines float32 (n,), and whether these are all."""

    segment_ids: NDArray[np.int64]
    similarity: NDArray[np.float32]
    are_all: bool = True

    def __len__(self) -> int:
        return len(self.segment_ids)

    def __getitem__(self, chosen: "slice | NDArray[np.bool_] | NDArray[np.int64]") -> "Candidates":
        return Candidates(self.segment_ids[chosen], self.similarity[chosen], self.are_all)


def rank(snapshot: Snapshot, vector: NDArray[np.float32], request: SearchRequest) -> Candidates:
    """The best `request.k` candidates. Retrieves more until enough files are found, because moments of one video may fill the list."""
    wanted = _first_wanted(snapshot, request)
    while True:
        found = _refine(retrieve(snapshot, vector, request, wanted), request)
        if len(found) >= request.k or found.are_all:
            return found[: request.k]
        wanted *= 4


def rank_many(snapshot: Snapshot, vectors: NDArray[np.float32], request: SearchRequest) -> list[Candidates]:
    """`rank` for each of many vectors, float32 (Q, E), which are compared with the index together."""
    wanted = _first_wanted(snapshot, request)
    lists = snapshot.nearest_of_many(vectors, wanted, request.kinds, request.where, exact=request.exact)
    found = [_refine(Candidates(*each), request) for each in lists]
    return [
        each[: request.k] if len(each) >= request.k or each.are_all else rank(snapshot, vector, request)
        for each, vector in zip(found, vectors, strict=True)
    ]


def _first_wanted(snapshot: Snapshot, request: SearchRequest) -> int:
    return 2 * request.k if request.group_by_file and snapshot.statistics.counts.get("shot") else request.k


def _refine(found: Candidates, request: SearchRequest) -> Candidates:
    return calibrate(collapse(rerank(fuse([found]), request), request))


def retrieve(snapshot: Snapshot, vector: NDArray[np.float32], request: SearchRequest, wanted: int) -> Candidates:
    """The nearest segments to the vector that the request allows, at most `wanted`. Raises QueryError for a bad filter."""
    return Candidates(*snapshot.nearest(vector, wanted, request.kinds, request.where, exact=request.exact))


def fuse(lists: Sequence[Candidates]) -> Candidates:
    """Joins several rankings. So far there is only one, which is returned."""
    (only,) = lists
    return only


def rerank(candidates: Candidates, request: SearchRequest) -> Candidates:
    """Reorders the best candidates. Changes nothing so far; `eval collection` measures reranking by `search.decoder_rerank`."""
    return candidates


def collapse(candidates: Candidates, request: SearchRequest) -> Candidates:
    """Only the best segment of each file, if the request groups by file."""
    if not request.group_by_file:
        return candidates
    _, first = np.unique(media_id_of_segment(candidates.segment_ids), return_index=True)
    return candidates[np.sort(first)]


def calibrate(candidates: Candidates) -> Candidates:
    """Turns scores into confidences. Changes nothing so far: hits have only the cosine."""
    return candidates
