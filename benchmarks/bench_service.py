"""`POST /search` of `coca-search serve` over HTTP, against `search()` in the process, over the same synthetic collection.

The service is a separate process, started by `coca-search serve`. The client is `search.client`. Both sides embed, rank, and read rows.
Eight clients at once share the cores of the machine with the service.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from socket import create_server

from benchmarks.measure.result import Result
from benchmarks.measure.same_hits import check_same
from benchmarks.measure.timing import latency, rates, ratio, seconds_of, seconds_of_each
from benchmarks.synthetic_collection import words, write_collection
from coca_model import load
from search import Hit, open_collection, search
from search.client import Client
from search.errors import NoServiceError

CLIENTS, K, CHECKED = 8, 20, 20
_START_SECONDS = 60
Found = Sequence[Hit]


def measure(small: bool = False) -> Result:
    """Make a collection and serve it, check that both sides find the same, then time them in turn."""
    rows, calls, requests, rounds = (2_000, 5, 8, 1) if small else (100_000, 150, 64, 4)
    encoder, sentences, many = load(), words(calls), words(requests)
    with tempfile.TemporaryDirectory() as temporary:
        write_collection(Path(temporary), encoder, rows)
        collection = open_collection(temporary, encoder=encoder)
        with served(Path(temporary)) as client, ThreadPoolExecutor(CLIENTS) as pool:
            sides: dict[str, Callable[[str], Found]] = {
                "search() in the process": lambda text: search(text, collection=collection, k=K),
                "service": lambda text: client.search(text, k=K),
            }
            worst = _largest_difference(*([run(text) for text in sentences[:CHECKED]] for run in sides.values()))
            seconds = seconds_of_each(sides, sentences)
            at_once: dict[str, Callable[[], list[Found]]] = {
                "1 client": lambda: [client.search(text, k=K) for text in many],
                "8 clients": lambda: list(pool.map(lambda text: client.search(text, k=K), many)),
            }
            _largest_difference(*(run() for run in at_once.values()))
            in_all = seconds_of(at_once, rounds)
    return Result(
        "service",
        f"Words to {K} hits among {rows:,} pictures over HTTP: milliseconds a request, and requests per second.",
        {name: latency(values) for name, values in seconds.items()}
        | {f"service, {name}": values for name, values in rates(in_all, "requests_per_second", requests).items()},
        {
            "service to search() in the process": ratio(seconds, "service", "search() in the process"),
            "8 clients to 1": ratio(in_all, "8 clients", "1 client"),
        },
        {"largest difference of a cosine": worst},
        {"rows": rows, "calls of each side": calls, "requests a round": requests, "k": K},
    )


@contextmanager
def served(collection: Path) -> Iterator[Client]:
    """Start the service as a process and wait until it answers. It ends with the block."""
    with create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    process = subprocess.Popen([sys.executable, "-m", "coca_search", "serve", "--collection", str(collection), "--port", str(port)])
    try:
        with Client(f"http://127.0.0.1:{port}") as client:
            until = time.monotonic() + _START_SECONDS
            while not _answers(client):
                assert process.poll() is None, f"the service ended with exit code {process.returncode} before it answered"
                assert time.monotonic() < until, f"the service did not answer within {_START_SECONDS} seconds"
                time.sleep(0.1)
            yield client
    finally:
        process.terminate()
        process.wait()


def _answers(client: Client) -> bool:
    try:
        client.health()
    except NoServiceError:
        return False
    return True


def _largest_difference(*sides: Sequence[Found]) -> float:
    """The largest difference between cosines of two sides. First checks that both found the same for each sentence."""
    ranked = [[[(hit.uri, hit.similarity) for hit in hits] for hits in side] for side in sides]
    return max(check_same(ours, theirs, tolerance=1e-3) for ours, theirs in zip(*ranked, strict=True))
