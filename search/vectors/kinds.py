"""Which kind of index a collection gets: from the number of its vectors, the memory, and the recall that its owner wants."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from search.errors import QueryError

IndexKind = Literal["exact", "flat", "lists"]
IndexChoice = Literal["auto", "exact", "flat", "lists"]
GpuKind = Literal["flat", "ivf", "cagra"]
KINDS_OF_INDEX: tuple[IndexKind, ...] = get_args(IndexKind)
GPU_KINDS: tuple[GpuKind, ...] = get_args(GpuKind)
K = 10  # of recall@10
LEAST_FOR_CODES = 20_000  # with fewer vectors, exact search takes a millisecond or two
LEAST_FOR_LISTS = 10_000_000  # with fewer, a scan of all codes takes less than a tenth of a second


@dataclass(frozen=True)
class IndexSettings:
    """What the owner of a collection wants of its index.

    Attributes:
        recall: the least recall@10 against exact search, above 0; 1 for exact search.
        memory: the most bytes that a reader may need for the index, beside files that it maps.
        kind: the kind of index; None to choose.

    Raises:
        QueryError: a value out of range.
    """

    recall: float = 0.98
    memory: int = 2 << 30
    kind: IndexKind | None = None

    def __post_init__(self) -> None:
        if not 0 < self.recall <= 1:
            raise QueryError(f"The recall is out of range ({self.recall}). Give a number above 0, at most 1.")
        if self.memory < 0:
            raise QueryError(f"The memory is out of range ({self.memory}). Give a number of bytes, at least 0.")
        if self.kind is not None and self.kind not in KINDS_OF_INDEX:
            raise QueryError(f"Unknown kind of index ({self.kind}). Allowed: {', '.join(KINDS_OF_INDEX)}.")

    def kind_for(self, num_vectors: int) -> IndexKind:
        if num_vectors < LEAST_FOR_CODES or self.recall == 1:
            return "exact"
        return self.kind or ("flat" if num_vectors < LEAST_FOR_LISTS else "lists")

    def allows_fast_codes(self, num_vectors: int, embedding_width: int) -> bool:
        return num_vectors * (embedding_width // 8 + 8) <= self.memory


@dataclass(frozen=True)
class IndexInfo:
    """The index of the main vectors of a snapshot, as `statistics.json` describes it.

    Attributes:
        settings: those for which it was built.
        has_fast_codes: whether a flat index has `FastCodes`.
        probes: of lists, see `InvertedLists`.
        error: the standard error of the cosines that codes estimate.
        recall: recall@10 against exact search, measured when it was built; None if the model was not at hand, or if search is exact.
        num_queries: sentences with which it was measured.
    """

    kind: IndexKind = "exact"
    settings: IndexSettings = field(default_factory=IndexSettings)
    has_fast_codes: bool = False
    probes: Mapping[int, int] = field(default_factory=dict)
    error: float = 0.0
    recall: float | None = None
    num_queries: int = 0

    def __post_init__(self) -> None:
        are_probes = self.kind != "lists" or len(self.probes) > 1
        is_recall = self.recall is None or 0 <= self.recall <= 1
        if self.kind not in KINDS_OF_INDEX or not 0 <= self.error < float("inf") or not are_probes or not is_recall:
            raise ValueError(f"unexpected values of an index ({self})")
        if any(rank < 1 or count < 1 for rank, count in self.probes.items()):
            raise ValueError(f"unexpected probes of an index ({self.probes})")

    def in_words(self) -> str:
        """Such as `flat codes, recall@10 0.9996 (96 sentences, 0.98 wanted)`."""
        if self.kind == "exact":
            return "none, every vector is compared"
        recall = "recall not measured, as the model was not found"
        if self.recall is not None:
            recall = f"recall@10 {self.recall:.4f} ({self.num_queries} sentences, {self.settings.recall:g} wanted)"
        fast = "" if self.kind == "lists" or self.has_fast_codes else ", without fast codes to save memory"
        return f"{'flat codes' if self.kind == 'flat' else 'inverted lists'}{fast}, {recall}"

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "IndexInfo":
        """Raises an error of any type for unexpected content."""
        settings, probes = IndexSettings(**values["settings"]), {int(rank): int(count) for rank, count in values["probes"].items()}
        return IndexInfo(**{**values, "settings": settings, "probes": probes})
