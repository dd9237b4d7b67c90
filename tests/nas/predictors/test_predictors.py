"""Predictors: they learn what can be learnt, say how well, and their slopes are right."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.predictors.encoding import Encoding
from nas.predictors.predictor import cross_validate, kendall_tau, report_on
from nas.predictors.process import Process, _block_products, _misfit
from nas.predictors.ridge import Ridge
from nas.predictors.selection import LEAST, predictors, select
from nas.predictors.trees import Trees
from nas.search.contract import small_accuracy, small_costs, small_space

SPACE = small_space()
ENCODE = Encoding(SPACE, small_costs)


def scored(n, seed=0):
    rows = np.unique(SPACE.sample(2 * n, np.random.default_rng(seed)), axis=0)
    rows = rows[np.random.default_rng(seed).permutation(len(rows))[:n]]
    targets = np.array([small_accuracy(SPACE.to_arch(row))["accuracy"] for row in rows])
    return ENCODE(rows), targets


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_different_archs_have_different_features(seed):
    rows = SPACE.sample(30, np.random.default_rng(seed))
    features = ENCODE(rows)
    assert features.shape == (30, len(ENCODE.blocks))
    assert len(np.unique(features.round(9), axis=0)) == len(np.unique(rows, axis=0))


def test_a_step_within_a_choice_is_at_most_one_apart():
    encode = Encoding(SPACE)
    first, second = (encode(SPACE.sample(200, np.random.default_rng(seed))) for seed in (1, 2))
    for block in range(encode.n_blocks):
        columns = encode.blocks == block
        squared = ((first[:, columns] - second[:, columns]) ** 2).sum(axis=1)
        assert squared.max() <= 1 + 1e-12


def test_costs_that_are_not_known_do_not_spoil_features():
    def costs(rows):
        return {"latency_ms": np.where(rows[:, 0] == 0, np.inf, small_costs(rows)["latency_ms"])}

    assert np.isfinite(Encoding(SPACE, costs)(SPACE.sample(100, np.random.default_rng(0)))).all()


@pytest.mark.parametrize(
    ("make", "least"), [(Ridge, 0.6), (Trees, 0.6), (lambda: Process(ENCODE.blocks), 0.8)]
)
def test_predictors_rank_unseen_archs(make, least):
    features, targets = scored(260)
    predictor = make()
    predictor.fit(features[:80], targets[:80])
    mean, error = predictor.predict(features[80:])
    assert kendall_tau(mean, targets[80:]) > least
    assert (error > 0).all()
    assert np.allclose(predictor.mean(features[80:]), mean)
    within = np.abs(mean - targets[80:]) < 3 * error
    assert within.mean() > 0.85


def test_a_constant_score_is_predicted_as_such():
    features, _ = scored(30)
    for make in (Ridge, Trees, lambda: Process(ENCODE.blocks)):
        predictor = make()
        predictor.fit(features, np.full(len(features), 0.7))
        assert np.allclose(predictor.predict(features)[0], 0.7)


def test_the_slope_of_the_misfit_is_that_of_differences():
    features, targets = scored(25)
    process = Process(ENCODE.blocks)
    products = _block_products(features, ENCODE.blocks, ENCODE.n_blocks)
    standard = (targets - targets.mean()) / targets.std()
    at = process._prior + np.random.default_rng(0).normal(size=len(process._prior)) * 0.3
    _, slope = _misfit(at, products, standard, process._prior, process._spread)
    for index in range(len(at)):
        step = np.zeros_like(at)
        step[index] = 1e-5
        up = _misfit(at + step, products, standard, process._prior, process._spread)[0]
        down = _misfit(at - step, products, standard, process._prior, process._spread)[0]
        assert slope[index] == pytest.approx((up - down) / 2e-5, rel=1e-4, abs=1e-5)


def test_left_out_is_what_a_fit_without_the_arch_predicts():
    features, targets = scored(30)
    process = Process(ENCODE.blocks)
    process.fit(features, targets)
    mean, unit = process._mean, process._unit
    expected = process.left_out[4]
    kept = np.arange(30) != 4
    process.condition(features[kept], targets[kept])
    # Leaving an arch out also moves the mean a little, which the formula does not follow.
    assert process.predict(features[4:5])[0][0] == pytest.approx(expected, abs=0.05 * unit)
    assert abs(process._mean - mean) < 0.1 * unit


def test_the_choice_is_the_best_in_cross_validation():
    features, targets = scored(60)
    found = select(predictors(ENCODE.blocks), features, targets, np.random.default_rng(0))
    assert {report.name for report in found.others} | {found.report.name} == {
        "ridge",
        "trees",
        "process",
        "ensemble",
    }
    assert found.report.mean_error <= min(report.mean_error for report in found.others) * 1.2
    means = found.predictor.mean(features)
    assert kendall_tau(means, targets) > found.report.tau - 0.1  # fitted to all of them
    assert found.report.tau > 0.7
    assert 0 < found.report.mean_error < found.report.interval


def test_too_little_or_unfit_to_learn_from_is_told():
    features, targets = scored(20)
    with pytest.raises(ValueError, match=f"at least {LEAST} scored archs, got 5"):
        select(predictors(ENCODE.blocks), features[:5], targets[:5], np.random.default_rng(0))
    targets[3] = np.nan
    with pytest.raises(ValueError, match="finite scores"):
        select(predictors(ENCODE.blocks), features, targets, np.random.default_rng(0))


def test_nobody_is_judged_by_what_they_were_fitted_to():
    class Memory:
        """Knows what it saw, and nothing else."""

        def fit(self, features, targets):
            self.seen = {row.tobytes(): target for row, target in zip(features, targets, strict=True)}

        def mean(self, features):
            return self.predict(features)[0]

        def predict(self, features):
            return np.array([self.seen.get(row.tobytes(), -1.0) for row in features]), np.ones(len(features))

    features, targets = scored(20)
    mean, _ = cross_validate(Memory, features, targets, np.random.default_rng(0))
    assert (mean == -1).all()
    assert report_on("memory", targets, mean).tau == 0


def test_kendall_tau_has_its_known_values():
    up = np.arange(5.0)
    assert kendall_tau(up, up) == 1
    assert kendall_tau(up, -up) == -1
    assert kendall_tau(up, np.ones(5)) == 0
    assert kendall_tau(np.array([1.0, 2, 3]), np.array([1.0, 3, 2])) == pytest.approx(1 / 3)
