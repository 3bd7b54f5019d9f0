"""The vectors of a snapshot in files that a reader maps into memory, and the nearest neighbours among them."""
