"""Results that are computed once and reused by later runs."""
