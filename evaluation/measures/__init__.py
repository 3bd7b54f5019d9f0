"""Figures from ranks, scores and captions."""
