"""Builds everything that the steps read, before the first step."""
