"""Structured pruning: which channels go together, which matter, and cutting them."""
