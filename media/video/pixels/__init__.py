"""Decoded frames as small pictures as a player shows them."""
