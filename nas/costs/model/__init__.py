"""Latency models: a table corrected on whole networks, with intervals."""
