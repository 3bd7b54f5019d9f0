"""The result that every benchmark prints as its last line, so that one page can show all of them."""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import torch


@dataclass(frozen=True)
class Result:
    """What one benchmark measured. Names contain the units, such as `p50_ms` or `pictures_per_second`.

    Attributes:
        benchmark: its name.
        what: one sentence for the page.
        sides: the measurements of each side.
        ratios: "A to B" -> how many times as fast as B is A.
        agreement: how close the outputs of the sides were before anything was timed.
        size: how much was measured.
        threads: threads of torch.
    """

    benchmark: str
    what: str
    sides: Mapping[str, Mapping[str, float]]
    ratios: Mapping[str, float]
    agreement: Mapping[str, float]
    size: Mapping[str, int]
    threads: int

    def line(self) -> str:
        return json.dumps(asdict(self))


def read_result(line: str) -> Result:
    """Read what `Result.line` wrote. Raises ValueError for anything else."""
    try:
        return Result(**json.loads(line))
    except (TypeError, ValueError) as error:
        raise ValueError(f"Not the result of a benchmark ({line:.80}). Its last line must be one JSON document. {error}") from error


def print_result(measure: Callable[[bool], Result], doc: str | None) -> None:
    """Run a benchmark as a script. `--small` takes seconds and only shows that the benchmark works."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="measure little, in seconds; the figures then mean nothing")
    print(measure(parser.parse_args().small).line())


def threads() -> int:
    """Threads of torch in this process. Loading a model sets them to what the machine allows."""
    return torch.get_num_threads()
