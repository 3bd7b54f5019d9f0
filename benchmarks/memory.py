"""Memory of `index` over many pictures: `python -m benchmarks.memory [COUNT]`. Writes docs/memory.png and prints one line of JSON.

The pictures are small, so that the run is about as long as embedding them. The memory of a large picture is bounded by the size of the
largest file in progress, not by their number.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.bench_index import write_photographs
from coca_model import load
from indexer import index
from indexer.processing.progress import Progress

CHART = Path(__file__).resolve().parent.parent / "docs" / "memory.png"
_MIB = 1 << 20


def resident_mib() -> float:
    """The resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MIB


def main() -> None:
    """Index `COUNT` pictures, and draw memory against files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", nargs="?", type=int, default=50_000)
    count = parser.parse_args().count
    encoder = load()
    curve: list[tuple[int, float]] = []

    def sample(progress: Progress) -> None:
        if progress.num_done % 100 == 0:
            curve.append((progress.num_done, resident_mib() - model))

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_photographs(folder / "few", 64, (160, 120))
        index(folder / "few", collection=folder / "few-collection", encoder=encoder)  # loads every library
        write_photographs(folder / "many", count, (160, 120))
        model = resident_mib()
        index(folder / "many", collection=folder / "collection", encoder=encoder, on_progress=sample)
        curve.append((count, resident_mib() - model))
    draw(curve)
    tenth, end = next(memory for done, memory in curve if done >= count // 10), curve[-1][1]
    most = max(memory for _, memory in curve)
    figures = {"pictures": count, "before_mib": model, "at_a_tenth_mib": tenth, "most_mib": most, "after_mib": end}
    print(json.dumps({name: round(value) for name, value in figures.items()}))


def draw(curve: list[tuple[int, float]]) -> None:
    figure = Figure(figsize=(8, 3), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(*zip(*curve, strict=True), color="#2a6f97")
    axes.set_xlabel("pictures indexed")
    axes.set_ylabel("MiB beyond the model")
    axes.set_ylim(0, max(1.1 * max(memory for _, memory in curve), 100))
    axes.set_frame_on(False)
    axes.grid(axis="y", color="#e4e4e4")
    figure.savefig(CHART, metadata={"Software": None})


if __name__ == "__main__":
    main()
