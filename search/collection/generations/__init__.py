"""Generations of a collection: a new one, of another model, is built beside the old one and replaces it in one step."""
