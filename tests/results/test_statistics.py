"""Statistics against closed forms, brute force and their own promises."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.statistics import bootstrap, kendall, mean_interval, share_interval, spearman, wilcoxon

few = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12)


@given(few)
@settings(max_examples=60, deadline=None)
def test_kendall_is_tau_b_by_its_definition(pairs):
    a, b = np.array(pairs, dtype=float).T
    signs = [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i in range(len(a)) for j in range(i)]
    untied = math.sqrt(sum(x != 0 for x, _ in signs) * sum(y != 0 for _, y in signs))
    if not untied:
        assert math.isnan(kendall(a, b))
    else:
        assert kendall(a, b) == pytest.approx(sum(x * y for x, y in signs) / untied)


def test_spearman_has_its_closed_form_without_ties():
    order = np.random.default_rng(0).permutation(30)
    squares = np.sum((order - np.arange(30)) ** 2)
    assert spearman(np.arange(30), order) == pytest.approx(1 - 6 * squares / (30 * (30**2 - 1)))


def test_rank_correlations_see_only_the_order():
    x = np.random.default_rng(1).normal(size=40)
    assert kendall(x, np.exp(x)) == pytest.approx(1)
    assert spearman(x, -(x**3)) == pytest.approx(-1)
    assert math.isnan(spearman(x, np.ones(40)))


@pytest.mark.parametrize("function", [kendall, spearman, wilcoxon])
def test_pairs_are_checked(function):
    with pytest.raises(ValueError, match="got 3 numbers and 2"):
        function([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="finite"):
        function([1.0, math.nan], [1.0, 2.0])


def test_wilcoxon_is_exact_on_few_pairs():
    assert wilcoxon([1, 2, 3, 4, 5], [0, 0, 0, 0, 0]) == pytest.approx(2 / 2**5)
    assert wilcoxon([1, 2, 3], [1, 2, 3]) == 1.0


def test_bootstrap_repeats_itself_and_holds_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(2)
    held = 0
    for trial in range(150):
        sample = rng.normal(5.0, 2.0, 40)
        found = bootstrap(lambda x: float(np.mean(x)), sample, seed=trial, resamples=300)
        held += found.low <= 5.0 <= found.high
    assert 0.87 <= held / 150 <= 0.99
    again = [bootstrap(lambda x: float(np.mean(x)), sample, seed=1) for _ in range(2)]
    assert again[0] == again[1]
    assert again[0] != bootstrap(lambda x: float(np.mean(x)), sample, seed=2)


def test_bootstrap_draws_pairs_together():
    x = np.random.default_rng(3).normal(size=30)
    found = bootstrap(kendall, x, 2 * x, seed=0, resamples=100)
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 1.0, 1.0))


def test_bootstrap_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match=r"got \[3, 2\]"):
        bootstrap(kendall, [1, 2, 3], [1, 2], seed=0)
    with pytest.raises(ValueError, match="got 95"):
        bootstrap(kendall, [1, 2, 3], [1, 2, 3], seed=0, confidence=95)
    with pytest.raises(ValueError, match="all equal"):
        bootstrap(kendall, [1, 1, 1], [1, 2, 3], seed=0, resamples=20)


def test_share_interval_solves_its_equation():
    # The ends are the shares from which the observed one is z standard deviations away.
    found = share_interval(352, 360)
    for end in (found.low, found.high):
        assert abs(found.value - end) / math.sqrt(end * (1 - end) / 360) == pytest.approx(1.959964, rel=1e-5)
    assert share_interval(0, 10).low == pytest.approx(0, abs=1e-12)
    assert share_interval(10, 10).high == pytest.approx(1)
    with pytest.raises(ValueError, match="11 of 10"):
        share_interval(11, 10)


def test_import_leaves_scipy_alone():
    code = "import sys, results.statistics; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_interval_of_a_mean_is_students():
    found = mean_interval([1.0, 2.0, 3.0])
    room = 4.302652729911275 / math.sqrt(3)  # of the t distribution with two degrees of freedom, at 97.5 %
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0 - room, 2.0 + room))
    with pytest.raises(ValueError, match="two finite numbers or more, got \\[1.0\\]"):
        mean_interval([1.0])
    with pytest.raises(ValueError, match="finite"):
        mean_interval([1.0, math.nan])
