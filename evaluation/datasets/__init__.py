"""Readers of published test sets and of a user's files."""
