"""Networks to fit on are those that tell most: distinct, the given ones first, better than a random draw."""

import numpy as np
import pytest

from nas.costs.model.correction import fit_correction
from nas.costs.model.features import Terms, network_terms
from nas.costs.model.fit import MeasurePlan, choose_networks
from nas.costs.model.selection import select_networks
from tests.nas.costs.synthetic import layers, space


@pytest.fixture(scope="module")
def terms() -> Terms:
    rows = space().sample(200, np.random.default_rng(0))
    return network_terms(layers(), 0.01 + 1e-7 * layers().weight_bytes, rows)


def some(terms: Terms, chosen: np.ndarray) -> Terms:
    return Terms(
        layers_ms=terms.layers_ms[chosen],
        counts=terms.counts[chosen],
        moved_bytes=terms.moved_bytes[chosen],
        weight_bytes=terms.weight_bytes[chosen],
        borders=terms.borders[chosen],
        after={kind: each[chosen] for kind, each in terms.after.items()},
    )


def test_terms_add_up_to_the_networks(terms: Terms) -> None:
    here = space()
    rows = here.sample(200, np.random.default_rng(0))
    for row, total, counts in zip(rows[:20], terms.sums_ms, terms.counts, strict=False):
        built = here.lower(here.to_arch(row))
        cost = dict(zip(layers().keys, 0.01 + 1e-7 * layers().weight_bytes, strict=True))
        assert total == pytest.approx(sum(cost[layer.key] for layer in built))
        assert counts.sum() == len(built)


def test_the_choice_is_distinct_and_keeps_the_first(terms: Terms) -> None:
    chosen = select_networks(terms, 30, first=2)
    assert chosen[:2].tolist() == [0, 1]
    assert len(set(chosen.tolist())) == 30
    np.testing.assert_array_equal(chosen, select_networks(terms, 30, first=2))
    assert len(select_networks(some(terms, np.arange(7)), 30, first=2)) == 7


def test_a_fit_on_it_is_nearer_to_a_device_whose_layers_differ_from_their_table(terms: Terms) -> None:
    """Devices drawn from what the correction assumes: networks chosen so predict the others better."""
    errors: dict[str, list[float]] = {"telling": [], "random": []}
    telling = select_networks(terms, 20, first=0)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        own = 1.0 + 0.1 * rng.normal(size=terms.layers_ms.shape[1])
        truth = terms.layers_ms @ own + terms.counts @ (0.004 * rng.random(terms.counts.shape[1]))
        measured = truth * np.exp(0.01 * rng.normal(size=len(truth)))
        for name, chosen in (("telling", telling), ("random", rng.permutation(len(truth))[:20])):
            fitted, _ = fit_correction(some(terms, chosen), measured[chosen])
            kinds, moved = layers().kinds, layers().activation_bytes
            table_ms = 0.01 + 1e-7 * layers().weight_bytes
            predicted = (terms.layers_ms / table_ms) @ fitted.layers_ms(table_ms, kinds, moved)
            predicted += fitted.offset_ms
            if fitted.after:
                later = terms.after[fitted.after]
                predicted += later @ np.array([fitted.per_later_ms, fitted.per_later_byte_ms])
            predicted = fitted.add_spill(predicted, terms.weight_bytes)
            errors[name].append(float(np.mean(np.abs(predicted / truth - 1))))
    assert np.mean(errors["telling"]) < np.mean(errors["random"])


def test_networks_to_check_with_are_none_of_those_fitted_on() -> None:
    plan = MeasurePlan(fit_networks=20, check_networks=15, seed=3)
    lone = 0.01 + 1e-7 * layers().weight_bytes
    lone[0] = np.inf
    fitting, checked = choose_networks(space(), layers(), lone, plan)
    assert (len(fitting), len(checked)) == (20, 15)
    assert len(np.unique(np.vstack([fitting, checked]), axis=0)) == 35
    assert np.isfinite(layers().sum(np.vstack([fitting, checked]), lone)).all()
