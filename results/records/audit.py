"""The records of an audit: networks trained alone beside their inherited accuracy, and the trust they earn.

Kendall's tau says how much likelier two networks are to be ranked as they should than the other way round:
1 is the right order, 0 is chance. It is what "Evaluating the Search Phase of Neural Architecture Search" (Yu
et al., ICLR 2020) and later work judge weight sharing by.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from results.records.codec import Record, Value
from results.statistics import Statistic, bootstrap, kendall, spearman

CONFIDENCE = 0.95
_RESAMPLES = 1000
POOR_TAU = 0.3  # a pair of networks is then in the wrong order in more than a third of the cases
_FEW = 10  # of fewer networks a bootstrap alone makes intervals that are too narrow: none around a tau of 1
_FEWEST_TOP = 4  # networks whose order says anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate(Record):
    """A number and its 95 % interval.

    Attributes:
        value: the number.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedNetwork(Record):
    """One network, judged by its inherited, fine-tuned and own weights.

    Attributes:
        name: ``smallest``, ``largest`` or a number in order of size.
        arch: choice names to values.
        macs: multiply-accumulates for one input.
        inherited_val: validation accuracy with the supernet's weights: what a search sees.
        inherited_test: test accuracy with the supernet's weights.
        finetuned_test: test accuracy after some more epochs from there; the inherited where there were none.
        alone_val: validation accuracy of the network trained from scratch, by itself.
        alone_test: test accuracy of the network trained from scratch; the others are compared with it.
        seconds: time all of this took.
    """

    name: str
    arch: dict[str, Value]
    macs: int
    inherited_val: float
    inherited_test: float
    finetuned_test: float
    alone_val: float
    alone_test: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry(Record):
    """A judged network and the supernet it was judged beside; a line of audit/networks.jsonl.

    Attributes:
        supernet: hash of the audited weights.
        network: the network.
        training: hash of how it was trained; networks that were trained otherwise are not set beside it.
    """

    supernet: str
    network: AuditedNetwork
    training: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking(Record):
    """Agreement of two orders of the same networks; None where no two networks differ.

    Attributes:
        tau: Kendall's rank correlation, tau-b.
        spearman: Spearman's rank correlation.
        top_tau: Kendall's tau among the best quarter; also None where that is fewer than four networks.
        top: number of networks in the best quarter.
    """

    tau: Estimate | None
    spearman: Estimate | None
    top_tau: Estimate | None
    top: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSummary(Record):
    """An audit as a whole; audit/audit.json.

    Attributes:
        supernet: hash of the audited weights.
        epochs: epochs that each network was trained alone.
        finetune_epochs: epochs that each network was fine-tuned.
        ranking: agreement of validation accuracies with inherited weights and test accuracies trained alone.
        inherited_gap: mean of inherited minus alone, on test images, as a fraction.
        finetuned_gap: mean of fine-tuned minus alone, likewise; None where nothing was fine-tuned.
        networks: judged networks in order of size.
        failed: reasons why networks are missing, one each.
        schema: form of this record.
    """

    supernet: str
    epochs: int
    finetune_epochs: int
    ranking: Ranking
    inherited_gap: Estimate
    finetuned_gap: Estimate | None
    networks: tuple[AuditedNetwork, ...]
    failed: tuple[str, ...] = ()
    schema: int = 1

    @property
    def doubt(self) -> str:
        """Why the order should not be relied on, without a full stop; empty where it may be."""
        if self.ranking.tau is None:
            return "Accuracy does not tell them apart"
        poor = self.ranking.tau.low < POOR_TAU
        return f"The interval of tau includes values below {POOR_TAU:g}" if poor else ""

    def sentences(self) -> list[str]:
        """The findings of the audit, in words."""
        found = [f"{self.headline()}.", _gap("With inherited weights", self.inherited_gap)]
        if self.finetuned_gap is not None:
            epochs = f"{self.finetune_epochs} epoch{'s' if self.finetune_epochs > 1 else ''}"
            found.append(_gap(f"Fine-tuned for {epochs}", self.finetuned_gap))
        small, large = self.networks[0], self.networks[-1]
        found.append(
            f"The smallest of them reaches {small.inherited_test:.1%} inherited and {small.alone_test:.1%} "
            f"alone, the largest {large.inherited_test:.1%} and {large.alone_test:.1%}."
        )
        if self.doubt:
            found.append(
                f"{self.doubt}: networks of close accuracy may be in the wrong order. Audit more networks, "
                f"or train the supernet longer."
            )
        return found

    def headline(self) -> str:
        """The rank correlation in words, without a full stop."""
        ranking, n = self.ranking, len(self.networks)
        if ranking.tau is None or ranking.spearman is None:
            return f"No order can be told: the {n} audited networks do not differ in accuracy"
        best = f"; {ranking.top_tau} among the best {ranking.top}" if ranking.top_tau else ""
        return (
            f"Kendall's tau between inherited and stand-alone accuracy of {n} networks is "
            f"{ranking.tau}{best}; Spearman's rank correlation {ranking.spearman}"
        )


def _gap(kind: str, gap: Estimate) -> str:
    side = "below" if gap.value < 0 else "above"
    low, high = sorted((abs(100 * gap.low), abs(100 * gap.high)))
    if gap.low < 0 < gap.high:
        interval = f"{100 * gap.low:+.1f} to {100 * gap.high:+.1f}"
    else:
        interval = f"{low:.1f} to {high:.1f}"
    return (
        f"{kind} networks are {abs(100 * gap.value):.1f} points {side} the same networks trained alone "
        f"({interval}), on test images."
    )


def summarise(
    networks: Sequence[AuditedNetwork],
    *,
    supernet: str,
    epochs: int,
    finetune_epochs: int,
    failed: Sequence[str] = (),
    seed: int,
) -> AuditSummary:
    """The summary of an audit: audited networks, and what they say of their supernet.

    Args:
        networks: judged networks, at least two.
        supernet: hash of the audited weights.
        epochs: epochs that each network was trained alone.
        finetune_epochs: epochs that each network was fine-tuned.
        failed: reasons why networks are missing, one each.
        seed: seed of the bootstrap.
    """
    inherited, tuned, alone = (
        np.array([getattr(network, name) for network in networks])
        for name in ("inherited_test", "finetuned_test", "alone_test")
    )
    seen = np.array([network.inherited_val for network in networks])
    return AuditSummary(
        supernet=supernet,
        epochs=epochs,
        finetune_epochs=finetune_epochs,
        ranking=rank_agreement(seen, alone, seed=seed),
        inherited_gap=mean_gap(inherited, alone, seed=seed),
        finetuned_gap=mean_gap(tuned, alone, seed=seed) if finetune_epochs else None,
        networks=tuple(sorted(networks, key=lambda network: network.macs)),
        failed=tuple(failed),
    )


def rank_agreement(seen: ArrayLike, true: ArrayLike, *, seed: int) -> Ranking:
    """Agreement of two orders of the same networks, with bootstrap intervals over the networks.

    Args:
        seen: accuracies as a search sees them, (n,).
        true: accuracies as they are, (n,).
        seed: seed of the bootstrap.

    Raises:
        ValueError: the lengths differ, there are fewer than two, or a number is not finite.
    """
    first, second = np.asarray(seen, dtype=np.float64), np.asarray(true, dtype=np.float64)
    best = np.argsort(-second, kind="stable")[: math.ceil(len(second) / 4)]
    return Ranking(
        tau=_estimate(kendall, first, second, seed=seed),
        spearman=_estimate(spearman, first, second, seed=seed),
        top_tau=_estimate(kendall, first[best], second[best], seed=seed)
        if len(best) >= _FEWEST_TOP
        else None,
        top=len(best),
    )


def mean_gap(seen: ArrayLike, true: ArrayLike, *, seed: int) -> Estimate:
    """The mean of the differences of paired numbers, negative where the first are smaller.

    Raises:
        ValueError: the lengths differ, or there are fewer than two.
    """
    return _interval(lambda a, b: float((a - b).mean()), seen, true, seed=seed)


def _estimate(statistic: Statistic, *samples: ArrayLike, seed: int) -> Estimate | None:
    if math.isnan(statistic(*samples)):
        return None
    found, n = _interval(statistic, *samples, seed=seed), len(np.asarray(samples[0]))
    if n >= _FEW:
        return found
    low, high = of_pairs(found.value, n)
    return Estimate(value=found.value, low=min(low, found.low), high=max(high, found.high))


def of_pairs(correlation: float, n: int) -> tuple[float, float]:
    """An interval for the rank correlation of a few networks, where resampling them finds hardly any other.

    Only n / 2 pairs share no network; the interval is Clopper and Pearson's ("The use of confidence or
    fiducial limits illustrated in the case of the binomial", Biometrika 1934) for the share of so many that
    is in the right order. It is wide: five networks in the right order may come from a tau of -0.7.
    """
    from scipy.stats import beta

    pairs, alpha = n // 2, 1 - CONFIDENCE
    right = (correlation + 1) / 2 * pairs
    low = beta.ppf(alpha / 2, right, pairs - right + 1) if right > 0 else 0.0
    high = beta.ppf(1 - alpha / 2, right + 1, pairs - right) if right < pairs else 1.0
    return 2 * float(low) - 1, 2 * float(high) - 1


def _interval(statistic: Statistic, *samples: ArrayLike, seed: int) -> Estimate:
    found = bootstrap(statistic, *samples, seed=seed, resamples=_RESAMPLES, confidence=CONFIDENCE)
    return Estimate(value=found.value, low=found.low, high=found.high)
