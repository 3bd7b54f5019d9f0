"""Compares two rankings. Ties are allowed: hits of equal cosine may come in any order, or be cut off at the end."""

from collections.abc import Hashable, Sequence

Ranking = Sequence[tuple[Hashable, float]]  # hits with their cosines, best first


def check_same(ours: Ranking, theirs: Ranking, tolerance: float = 1e-5) -> float:
    """The largest difference between cosines of the same rank or the same hit. Raises AssertionError if the rankings differ."""
    assert len(ours) == len(theirs), f"{len(ours)} hits, {len(theirs)} on the other side"
    if not ours:
        return 0.0
    differences = [abs(a - b) for (_, a), (_, b) in zip(ours, theirs, strict=True)]
    last = min(ours[-1][1], theirs[-1][1])
    for one, other in ((dict(ours), dict(theirs)), (dict(theirs), dict(ours))):
        differences += [abs(cosine - other.get(hit, last)) for hit, cosine in one.items()]
    worst = max(differences)
    assert worst <= tolerance, f"hits differ by a cosine of {worst:.2e}, more than {tolerance:.0e}: {list(ours)}, {list(theirs)}"
    return float(worst)
