"""Weights that share few values: k-means, training of what is shared."""
