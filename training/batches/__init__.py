"""Draws the pictures and texts of each step."""
