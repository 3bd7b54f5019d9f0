"""The one shape of what a benchmark prints last, so that the page draws every benchmark without knowing any."""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import torch


@dataclass(frozen=True)
class Result:
    """What one benchmark measured; units are in the names, as in `p50_ms` or `pictures_per_second`.

    `sides`: the measurements of each side. `ratios`: "A to B" -> how many times as fast as B is A. `agreement`: how nearly the
    outputs were the same before anything was timed. `size`: of what was measured.
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
    """The result that `Result.line` wrote. Raises ValueError for anything else."""
    try:
        return Result(**json.loads(line))
    except (TypeError, ValueError) as error:
        raise ValueError(f"Not the result of a benchmark ({line:.80}). Its last line is one JSON document. {error}") from error


def print_result(measure: Callable[[bool], Result], doc: str | None) -> None:
    """Run a benchmark as a script: `--small` measures so little that it takes seconds, to see that it works."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="measure little, in seconds: the figures mean nothing then")
    print(measure(parser.parse_args().small).line())


def threads() -> int:
    """Threads of torch in this process; after a model was loaded, those that the machine allows."""
    return torch.get_num_threads()
