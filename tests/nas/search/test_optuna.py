"""Choices as Optuna sees them."""

from __future__ import annotations

import pytest

from search_spaces.choice import Choice

optuna = pytest.importorskip("optuna")


def test_only_numbers_that_have_an_order_are_numbers_to_optuna() -> None:
    from nas.search.searchers.optuna_search import distribution

    steps = distribution(Choice("width", (8, 16, 24)))
    assert (steps.low, steps.high, steps.step) == (8, 24, 8)
    operators = distribution(Choice("operator", (0, 1, 2), role="category"))
    assert operators == optuna.distributions.CategoricalDistribution((0, 1, 2))
    assert distribution(Choice("kind", ("a", "b"))) == optuna.distributions.CategoricalDistribution(
        ("a", "b")
    )
