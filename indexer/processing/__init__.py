"""From a file to its rows: what happens to one file, and the lanes on which many files run."""
