"""Recipes: what a run does, as one TOML file."""
