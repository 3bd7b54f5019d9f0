"""Checkpoints: finding, reading and writing them, and converting open_clip's."""
