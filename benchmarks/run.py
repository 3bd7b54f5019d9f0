"""Runs the benchmarks one after the other and writes `docs/benchmarks.md` with its chart: `make bench`.

Each benchmark runs in a separate process, so it inherits no threads or memory from the previous one. If one fails, the page names it and
the others still run. Each result is printed as one line of JSON. Progress goes to stderr.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from benchmarks.measure.result import Result, read_result
from benchmarks.report.markdown import Page

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
NAMES = ("encode", "caption", "score", "index", "films", "search", "search_million", "service", "open")


def command(name: str, *, small: bool) -> list[str]:
    """The command that runs a benchmark alone and prints its result as the last line."""
    return [sys.executable, "-m", "benchmarks.run", "--here", name, *(["--small"] if small else [])]


def run_one(name: str, *, small: bool) -> Result | str:
    """The result of a benchmark, or a short reason why it failed. Its messages go to stderr."""
    done = subprocess.run(command(name, small=small), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return f"exit code {done.returncode}"
    try:
        return read_result((done.stdout.splitlines() or [""])[-1])
    except ValueError as error:
        print(error, file=sys.stderr)
        return "its last line is not a result"


def run_all(names: Sequence[str], *, small: bool) -> tuple[list[Result], dict[str, str]]:
    """The results of the benchmarks that ran, and why the others failed."""
    results, failed = [], {}
    for position, name in enumerate(names, 1):
        print(f"[{position}/{len(names)}] {name} ...", file=sys.stderr, flush=True)
        since = time.monotonic()
        result = run_one(name, small=small)
        if isinstance(result, Result):
            results.append(result)
            print(result.line(), flush=True)
        else:
            failed[name] = result
        outcome = f"failed, {failed[name]}" if name in failed else "done"
        print(f"[{position}/{len(names)}] {name}: {outcome}, {time.monotonic() - since:.0f} s", file=sys.stderr, flush=True)
    return results, failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the given benchmarks, or all of them. The exit code is 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"run only these, and write no page: {', '.join(NAMES)}")
    parser.add_argument("--page", type=Path, help="where to write the page, with the chart beside it; by default docs/benchmarks.md")
    parser.add_argument("--small", action="store_true", help="measure little, to check that everything runs, and write no page")
    parser.add_argument("--here", metavar="NAME", choices=NAMES, help="run this benchmark in this process, and print only its result")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - set(NAMES)):
        parser.error(f"Unknown benchmark ({', '.join(unknown)}). Known: {', '.join(NAMES)}.")
    if options.here:
        print(import_module(f"benchmarks.bench_{options.here}").measure(options.small).line())
        return 0
    results, failed = run_all(options.names or NAMES, small=options.small)
    partly = bool(options.names) or options.small
    if page := options.page or (None if partly else PAGE):
        words = ["python -m benchmarks.run", *options.names, *(["--small"] if options.small else [])]
        Page(results, failed, " ".join(words) if partly else "make bench").write(page)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
