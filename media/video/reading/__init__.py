"""The file of a film: its container, the clock of a player, packets and frames, read once from start to end."""
