"""Families of search spaces and the presets made of them."""
