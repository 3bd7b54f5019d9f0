"""Checkpoints: where they lie, how they are read and written, and open_clip's names for weights."""
