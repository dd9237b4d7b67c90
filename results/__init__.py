"""Records, fronts, statistics and the report."""
