"""Recipes read from files, and held against everything that they name."""
