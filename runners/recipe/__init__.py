"""Recipes: what a run does, as one TOML file; its sections are read by all rooms."""
