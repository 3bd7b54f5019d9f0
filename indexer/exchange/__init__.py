"""Rows of a collection to files of other programs, and back; and two collections into one."""
