"""The supernet, training rules, cost models and searchers."""
