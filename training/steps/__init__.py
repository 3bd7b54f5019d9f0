"""Runs the steps of a phase."""
