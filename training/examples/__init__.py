"""Reads files and folders of captioned pictures."""
