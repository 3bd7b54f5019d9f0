"""Vectors, captions and tokens of media, computed once."""
