"""A run: its folder, the order of its stages, and what they are handed."""
