"""Writes the log, the checkpoint, snapshots and results."""
