"""Predictors of a score from the encoding of an arch: what a search asks instead of an evaluation."""
