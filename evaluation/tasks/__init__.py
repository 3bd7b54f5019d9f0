"""One file for each `coca-search eval` command, and what only they need."""
