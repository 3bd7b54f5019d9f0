"""`docs/benchmarks.md` from the results."""
