"""Loss functions, and the table of their names."""
