"""The table of ``training_rules``: what the finished pieces say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.statistics import kendall

Floats = NDArray[np.float64]
RESAMPLES = 1000


def table(lines: list[dict[str, Any]], labels: list[str]) -> str:
    """A Markdown table, a row for each rule, and what stands under it.

    Intervals are from a bootstrap over networks, of the mean over the seeds that are finished.
    """
    alone = {line["network"]: line for line in lines if line["kind"] == "alone" and line["seed"] == 0}
    networks = sorted(alone)
    if len(networks) < 4:
        return f"{len(networks)} networks were trained alone so far; four are the least that have an order"
    truth = np.array([alone[network]["accuracy"] for network in networks])
    found = [
        "| rule | seeds | tau | tau less the first's | tau, best quarter | inherited less alone "
        "| largest | median | smallest | images/s |",
        "|---" * 10 + "|",
    ]
    first: Floats | None = None
    for label in labels:
        runs = [line for line in lines if line["kind"] == "rule" and line["label"] == label]
        if runs:
            inherited = np.array([line["accuracies"] for line in runs])[:, networks]
            first = inherited if first is None else first
            speed = float(np.median([line["images_per_second"] for line in runs]))
            found.append(_row(label, inherited, first, truth, speed))
    return "\n".join([*found, "", *_notes(lines, alone, truth)])


def _row(label: str, inherited: Floats, first: Floats, truth: Floats, speed: float) -> str:
    """One rule: (seeds, networks) accuracies beside those of the networks alone, in order of size."""
    best = truth >= np.quantile(truth, 0.75)
    tau, low, high = _interval(lambda rows: _tau(inherited[:, rows], truth[rows]), len(truth))
    more, least, most = _interval(
        lambda rows: _tau(inherited[:, rows], truth[rows]) - _tau(first[:, rows], truth[rows]), len(truth)
    )
    gap = 100 * (inherited - truth).mean()
    middle = inherited[:, inherited.shape[1] // 2]
    cells = [
        label,
        str(len(inherited)),
        f"{tau:.2f} ({low:.2f} to {high:.2f})",
        "" if inherited is first else f"{more:+.2f} ({least:+.2f} to {most:+.2f})",
        f"{_tau(inherited[:, best], truth[best]):.2f}",
        f"{gap:+.1f} points",
        *(f"{values.mean():.1%}" for values in (inherited[:, -1], middle, inherited[:, 0])),
        f"{speed:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _tau(inherited: Floats, truth: Floats) -> float:
    return float(np.mean([kendall(seed, truth) for seed in inherited]))


def _interval(statistic: Callable[[NDArray[np.intp]], float], networks: int) -> tuple[float, float, float]:
    """A statistic of some networks: of all, and its 95 % interval by bootstrap."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(networks, size=(RESAMPLES, networks))
    low, high = np.nanquantile([statistic(rows) for rows in drawn], [0.025, 0.975])
    return statistic(np.arange(networks)), float(low), float(high)


def _ceiling(truth: Floats, noise: float) -> float:
    """The mean tau of two sets of trainings of networks as far apart as these, less the noise of training."""
    rng, share = np.random.default_rng(0), noise**2 / truth.var(ddof=1)
    true = truth.mean() + np.sqrt(max(0.0, 1 - share)) * (truth - truth.mean())
    drawn = rng.normal(true, noise, size=(RESAMPLES, 2, len(true)))
    return float(np.mean([kendall(first, second) for first, second in drawn]))


def _by_seed(lines: list[dict[str, Any]], label: str, truth: Floats, networks: list[int]) -> str:
    """The taus of a rule's seeds, and its compute beside the sandwich's."""
    runs = sorted(
        (line for line in lines if line["kind"] == "rule" and line["label"] == label),
        key=lambda line: line["seed"],
    )
    taus = [kendall(np.array(line["accuracies"])[networks], truth) for line in runs]
    return f"{label} {', '.join(f'{tau:.2f}' for tau in taus)} ({runs[0]['compute']:.2f})"


def _notes(lines: list[dict[str, Any]], alone: dict[int, dict[str, Any]], truth: Floats) -> list[str]:
    """What the order of the networks alone is worth itself, and fine-tuning where it was done."""
    macs = np.array([alone[network]["macs"] for network in sorted(alone)])
    notes = [
        f"{len(alone)} networks alone reach {truth.min():.1%} to {truth.max():.1%}; "
        f"tau of MACs alone {kendall(macs, truth):.2f}."
    ]
    again = [line for line in lines if line["kind"] == "alone" and line["seed"] == 1]
    if again:
        apart = [abs(line["accuracy"] - alone[line["network"]]["accuracy"]) for line in again]
        noise = float(np.sqrt(np.mean(np.square(apart)) / 2))
        notes.append(
            f"Two trainings of one network are {100 * np.mean(apart):.1f} points apart ({len(again)} pairs, "
            f"standard deviation of one {100 * noise:.1f}); with so much noise a second set of trainings "
            f"alone would have a tau of {_ceiling(truth, noise):.2f} with the first."
        )
    labels = dict.fromkeys(line["label"] for line in lines if line["kind"] == "rule")
    seeds = [_by_seed(lines, label, truth, sorted(alone)) for label in labels]
    if seeds:
        notes.append(f"Tau by seed (and compute of the sandwich's): {'; '.join(seeds)}.")
    tuned = [line for line in lines if line["kind"] == "tuned"]
    for label in dict.fromkeys(line["label"] for line in tuned):
        gaps = [
            line["accuracy"] - alone[line["network"]]["accuracy"] for line in tuned if line["label"] == label
        ]
        notes.append(f"Fine-tuned from {label}: {100 * np.mean(gaps):+.1f} points ({len(gaps)} networks).")
    return notes
