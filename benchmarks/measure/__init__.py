"""What all benchmarks share: the comparison of hits, the timing, the result."""
