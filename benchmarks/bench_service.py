"""`POST /search` of `coca-search serve` over HTTP, against `search()` in the process, over the same synthetic collection. `make bench`.

The service is a process of its own, started as a user starts it; the client is `search.client`. Both sides embed the words, rank,
and read rows. With 8 clients at once, clients and service share the machine's cores. The last line printed is one JSON document.
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

from benchmarks.result import Result, print_result, threads
from benchmarks.same_hits import check_same
from benchmarks.side_by_side import latency, rate, ratio, seconds_of, seconds_of_each
from benchmarks.synthetic_collection import words, write_collection
from coca_model import load
from search import Hit, open_collection, search
from search.client import Client
from search.errors import NoServiceError
from search.hits import RemoteHit

ROWS, CALLS, REQUESTS, ROUNDS = 100_000, 150, 64, 4
SMALL_ROWS, SMALL_CALLS, SMALL_REQUESTS, SMALL_ROUNDS = 2_000, 5, 8, 1
CLIENTS, K, CHECKED = 8, 20, 20
_START_SECONDS = 60
Found = Sequence[Hit | RemoteHit]


def measure(small: bool = False) -> Result:
    """Make a collection and serve it, check that both sides find the same, then time them in turn."""
    rows, calls, requests, rounds = (SMALL_ROWS, SMALL_CALLS, SMALL_REQUESTS, SMALL_ROUNDS) if small else (ROWS, CALLS, REQUESTS, ROUNDS)
    encoder, sentences = load(), words(calls)
    with tempfile.TemporaryDirectory() as temporary:
        write_collection(Path(temporary), encoder, rows)
        collection = open_collection(temporary, encoder=encoder)
        with served(Path(temporary)) as client, ThreadPoolExecutor(CLIENTS) as pool:
            sides: dict[str, Callable[[str], Found]] = {
                "search() in the process": lambda text: search(text, collection=collection, k=K),
                "service": lambda text: client.search(text, k=K),
            }
            found = [[run(text) for text in sentences[:CHECKED]] for run in sides.values()]
            worst = _largest_difference(*found)
            seconds = seconds_of_each(sides, sentences)
            many = words(requests)
            at_once: dict[str, Callable[[], list[Found]]] = {
                "1 client": lambda: [client.search(text, k=K) for text in many],
                "8 clients": lambda: list(pool.map(lambda text: client.search(text, k=K), many)),
            }
            _largest_difference(*(run() for run in at_once.values()))
            in_all = seconds_of(at_once, rounds)
    return Result(
        "service",
        f"Words to {K} hits among {rows:,} pictures over HTTP: milliseconds a request, and requests a second.",
        {name: latency(values) for name, values in seconds.items()}
        | {f"service, {name}": {"requests_per_second": rate(values, requests)} for name, values in in_all.items()},
        {
            "service to search() in the process": ratio(seconds, "service", "search() in the process"),
            "8 clients to 1": ratio(in_all, "8 clients", "1 client"),
        },
        {"largest difference of a cosine": worst},
        {"rows": rows, "calls of each side": calls, "requests a round": requests, "k": K},
        threads(),
    )


@contextmanager
def served(collection: Path) -> Iterator[Client]:
    """The service in a process of its own, once it answers; it ends with the block."""
    with create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    process = subprocess.Popen([sys.executable, "-m", "coca_search", "serve", "--collection", str(collection), "--port", str(port)])
    try:
        with Client(f"http://127.0.0.1:{port}") as client:
            _wait_for(client, process)
            yield client
    finally:
        process.terminate()
        process.wait()


def _wait_for(client: Client, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, f"the service ended with exit code {process.returncode} before it answered"
        try:
            client.health()
        except NoServiceError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"the service did not answer within {_START_SECONDS} seconds")


def _largest_difference(*sides: Sequence[Found]) -> float:
    """Of the cosines of two sides, after checking that they found the same for every sentence."""
    ranked = [[[(hit.uri, hit.similarity) for hit in hits] for hits in side] for side in sides]
    return max(check_same(ours, theirs, tolerance=1e-3) for ours, theirs in zip(*ranked, strict=True))


if __name__ == "__main__":
    print_result(measure, __doc__)
