"""Runs the benchmarks one after the other and writes `docs/benchmarks.md` with its picture: `make bench`.

Each runs in a process of its own, so that none leaves threads or memory to the next. One that fails is named on the page, and
the others go on. Each result is printed as it comes, as one line of JSON; progress goes to stderr.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.page import Page
from benchmarks.result import Result, read_result

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
NAMES = ("encode", "caption", "score", "index", "search", "service", "open")


def command(name: str, *, small: bool) -> list[str]:
    """How a benchmark is run."""
    return [sys.executable, "-m", f"benchmarks.bench_{name}", *(["--small"] if small else [])]


def run_one(name: str, *, small: bool) -> Result | str:
    """The result of a benchmark, or in a few words what became of it; what it says itself goes to stderr."""
    done = subprocess.run(command(name, small=small), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return f"exit code {done.returncode}"
    try:
        return read_result((done.stdout.splitlines() or [""])[-1])
    except ValueError as error:
        print(error, file=sys.stderr)
        return "its last line is not a result"


def run_all(names: Sequence[str], *, small: bool) -> tuple[list[Result], dict[str, str]]:
    """The results of those that ran, and what became of those that failed."""
    results, failed = [], {}
    for place, name in enumerate(names, 1):
        print(f"[{place}/{len(names)}] {name} ...", file=sys.stderr, flush=True)
        since = time.monotonic()
        result = run_one(name, small=small)
        if isinstance(result, Result):
            results.append(result)
            print(result.line(), flush=True)
            said = "done"
        else:
            failed[name] = result
            said = f"failed, {result}"
        print(f"[{place}/{len(names)}] {name}: {said}, {time.monotonic() - since:.0f} s", file=sys.stderr, flush=True)
    return results, failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; the exit code is 1 where a benchmark failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"run only these, and write no page: {', '.join(NAMES)}")
    parser.add_argument("--page", type=Path, help="where the page goes, its picture beside it; by default docs/benchmarks.md")
    parser.add_argument("--small", action="store_true", help="measure little, to see that all runs, and write no page")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - set(NAMES)):
        parser.error(f"Unknown benchmark ({', '.join(unknown)}). There are: {', '.join(NAMES)}.")
    results, failed = run_all(options.names or NAMES, small=options.small)
    partly = bool(options.names) or options.small
    if page := options.page or (None if partly else PAGE):
        words = ["python -m benchmarks.run", *options.names, *(["--small"] if options.small else [])]
        Page(results, failed, " ".join(words) if partly else "make bench").write(page)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
