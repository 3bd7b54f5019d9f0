"""The result of a benchmark as one line of JSON, so that one page can show all of them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import torch


@dataclass(frozen=True)
class Result:
    """What one benchmark measured. Names contain the units, such as `p50_ms` or `pictures_per_second`."""

    benchmark: str
    what: str  # one sentence for the page
    sides: Mapping[str, Mapping[str, float]]  # the measurements of each side
    ratios: Mapping[str, float]  # "A to B" -> how many times as fast A is as B
    agreement: Mapping[str, float]  # how close the outputs of the sides were before anything was timed
    size: Mapping[str, int]  # how much was measured
    threads: int = field(default_factory=torch.get_num_threads)  # loading a model limits them to the CPUs of this process

    def line(self) -> str:
        return json.dumps(asdict(self))


def read_result(line: str) -> Result:
    """Read what `Result.line` wrote. Raises ValueError for anything else."""
    try:
        return Result(**json.loads(line))
    except (TypeError, ValueError) as error:
        raise ValueError(f"Not the result of a benchmark ({line:.80}). The last line must be one JSON document. {error}") from error
