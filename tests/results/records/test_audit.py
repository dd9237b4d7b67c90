"""What an audit says, on numbers whose answer is known."""

import itertools
import math
from functools import cache

import numpy as np
import pytest

from results.records.audit import AuditedNetwork, AuditSummary, mean_gap, of_pairs, rank_agreement, summarise
from results.statistics import kendall


def network(place: int, seen: float, inherited: float, tuned: float, alone: float) -> AuditedNetwork:
    return AuditedNetwork(
        name=f"network-{place}",
        arch={"width": place},
        macs=1000 * (place + 1),
        inherited_val=seen,
        inherited_test=inherited,
        finetuned_test=tuned,
        alone_val=alone,
        alone_test=alone,
        seconds=1.0,
    )


@cache
def planted(n: int = 20, swaps: int = 0) -> AuditSummary:
    """Networks in the right order but for some neighbours that changed places; all gaps are the same."""
    alone = np.linspace(0.5, 0.9, n)
    seen = alone - 0.1
    for at in range(swaps):
        seen[[2 * at, 2 * at + 1]] = seen[[2 * at + 1, 2 * at]]
    networks = [network(i, seen[i], alone[i] - 0.03, alone[i] - 0.01, alone[i]) for i in range(n)]
    return summarise(networks[::-1], supernet="abc", epochs=3, finetune_epochs=2, seed=0)


def test_the_right_order_has_a_tau_of_one_with_no_room() -> None:
    ranking = planted().ranking
    for estimate in (ranking.tau, ranking.spearman):
        assert estimate is not None
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx((1.0, 1.0, 1.0))
    assert ranking.top == 5
    assert not planted().doubt


def test_few_networks_in_the_right_order_prove_little() -> None:
    """Two of two pairs: by Clopper and Pearson at least 15.8 % of all pairs are in the right order."""
    top = planted().ranking.top_tau
    assert top is not None
    assert (top.value, top.high) == pytest.approx((1.0, 1.0))
    assert top.low == pytest.approx(2 * math.sqrt(0.025) - 1)


def test_intervals_of_few_networks_hold_the_truth() -> None:
    """Normal pairs with a true tau of 0.8, five at a time."""
    rng, correlation = np.random.default_rng(0), math.sin(math.pi / 2 * 0.8)
    first, noise = rng.standard_normal((2, 300, 5))
    second = correlation * first + math.sqrt(1 - correlation**2) * noise
    taus = [kendall(one, other) for one, other in zip(first, second, strict=True)]
    held = [low <= 0.8 <= high for low, high in (of_pairs(tau, 5) for tau in taus)]
    assert np.mean(held) >= 0.95


def test_tau_counts_pairs_in_the_wrong_order() -> None:
    tau = planted(swaps=3).ranking.tau
    assert tau is not None
    assert tau.value == pytest.approx(1 - 2 * 3 / (20 * 19 / 2))
    assert tau.low < tau.value <= tau.high


def test_only_the_best_by_true_accuracy_are_the_top() -> None:
    true = np.arange(16.0)
    seen = true.copy()
    seen[[12, 13, 14, 15]] = [15, 14, 13, 12]  # the best quarter is upside down
    ranking = rank_agreement(seen, true, seed=0)
    assert ranking.top_tau is not None
    assert ranking.tau is not None
    assert ranking.top_tau.value == -1.0
    assert ranking.tau.value > 0.8


def test_chance_is_doubtful_and_the_interval_holds_zero() -> None:
    rng = np.random.default_rng(0)
    ranking = rank_agreement(rng.random(30), rng.random(30), seed=0)
    assert ranking.tau is not None
    assert ranking.tau.low < 0 < ranking.tau.high


def test_three_networks_are_no_quarter_to_rank() -> None:
    ranking = rank_agreement(np.arange(12.0), np.arange(12.0), seed=0)
    assert (ranking.top, ranking.top_tau) == (3, None)


def test_networks_that_do_not_differ_have_no_order() -> None:
    networks = [network(i, 0.5, 0.5, 0.5, 0.5) for i in range(6)]
    summary = summarise(networks, supernet="abc", epochs=3, finetune_epochs=0, seed=0)
    assert summary.ranking.tau is None
    assert summary.doubt
    assert "do not differ" in summary.headline()


def test_gaps_are_inherited_minus_alone_with_an_interval() -> None:
    summary = planted()
    assert summary.inherited_gap.value == pytest.approx(-0.03)
    assert summary.finetuned_gap is not None
    assert summary.finetuned_gap.value == pytest.approx(-0.01)
    gap = mean_gap([0.0, 0.2], [0.1, 0.1], seed=0)
    assert gap.low == pytest.approx(-0.1)
    assert gap.high == pytest.approx(0.1)


def test_words_give_points_sides_and_both_ends_of_the_space() -> None:
    words = " ".join(planted(swaps=1).sentences())
    assert "Kendall's tau between inherited and stand-alone accuracy of 20 networks is 0.99" in words
    assert (
        "With inherited weights networks are 3.0 points below the same networks trained alone (3.0 to 3.0)"
        in words
    )
    assert "Fine-tuned for 2 epochs networks are 1.0 points below" in words
    assert "smallest of them reaches 47.0% inherited and 50.0% alone, the largest 87.0% and 90.0%" in words
    assert "wrong order" not in words


def test_a_perfect_order_of_few_networks_is_no_proof() -> None:
    assert planted(n=10).doubt == ""
    for n in range(4, 10):
        assert "The interval of tau includes values below 0.3" in planted(n=n).sentences()[-1]


def test_a_poor_tau_is_said() -> None:
    rng = np.random.default_rng(1)
    networks = [network(i, a, a, a, b) for i, (a, b) in enumerate(rng.random((10, 2)))]
    summary = summarise(networks, supernet="abc", epochs=3, finetune_epochs=0, seed=0)
    assert summary.doubt
    assert "may be in the wrong order" in summary.sentences()[-1]
    assert not any("Fine-tuned" in sentence for sentence in summary.sentences())


def test_networks_come_in_order_of_size_and_the_record_survives_json() -> None:
    summary = planted()
    assert all(a.macs < b.macs for a, b in itertools.pairwise(summary.networks))
    assert AuditSummary.from_json(summary.to_json()) == summary
