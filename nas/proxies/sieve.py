"""A sieve: candidates in order of their mean rank by some proxies, before any is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas.proxies.proxy import PROXIES, Loss

A = TypeVar("A")
ProxyChoice = str | tuple[str, Mapping[str, object]]
"""A name in ``PROXIES``, or a name with settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sieved:
    """Candidates as proxies rank them.

    Attributes:
        order: candidates by index, best first; of equal ones the earlier.
        mean_rank: mean over the proxies of the rank of each, 1 the best, (n,).
        scores: each proxy's scores by its name, (n,); higher is better.
        problems: scores that are no number, in words; such a candidate comes last by that proxy.
    """

    order: tuple[int, ...]
    mean_rank: NDArray[np.float64]
    scores: Mapping[str, NDArray[np.float64]]
    problems: tuple[str, ...]


def sieve(
    archs: Sequence[A],
    build: Callable[[A], nn.Module],
    proxies: Sequence[ProxyChoice],
    images: Tensor,
    labels: Tensor,
    loss: Loss,
    *,
    seed: int,
) -> Sieved:
    """Ranks networks that were not trained.

    All are initialised from the same seed, one after another; the global random state is left as it was.

    Args:
        archs: candidates.
        build: makes the network of one, on the images' device where that is not the CPU.
        proxies: one proxy or more, with settings or without.
        images: one batch as networks take it, (N, C, H, W); 32 to 128 images will do.
        labels: their labels.
        loss: loss of outputs and labels.
        seed: seed of the weights and of what is random in proxies.

    Raises:
        ValueError: no candidates, no proxies or one that comes twice, unknown ones or settings; a proxy by
            which no candidate has a score.
    """
    chosen = _configured(proxies)
    if not archs:
        raise ValueError("there are no candidates to rank")
    scores = {name: np.empty(len(archs)) for name in chosen}
    for index, arch in enumerate(archs):
        with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
            torch.manual_seed(seed)
            network = build(arch)
        for name, proxy in chosen.items():
            scores[name][index] = proxy(network, images, labels, loss, seed)
    problems = [problem for name, found in scores.items() for problem in _problems(name, found)]
    ranks = np.mean([_ranks(found) for found in scores.values()], axis=0)
    return Sieved(
        order=tuple(int(index) for index in np.argsort(ranks, kind="stable")),
        mean_rank=ranks,
        scores=scores,
        problems=tuple(problems),
    )


def _configured(proxies: Sequence[ProxyChoice]) -> dict[str, Callable[..., float]]:
    pairs = [(one, {}) if isinstance(one, str) else one for one in proxies]
    names = [name for name, _ in pairs]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"a sieve takes one proxy or more, each once, of {', '.join(PROXIES)}; got {names}")
    return {name: PROXIES.configured(name, options) for name, options in pairs}


def _problems(name: str, scores: NDArray[np.float64]) -> list[str]:
    """What to say of scores that are NaN or infinite."""
    lost = np.flatnonzero(~np.isfinite(scores))
    if len(lost) == len(scores):
        raise ValueError(
            f"{name} gives {scores[0]} for every candidate: look whether images and outputs are finite, "
            "or take another proxy"
        )
    if not len(lost):
        return []
    told = ", ".join(f"{index} ({scores[index]})" for index in lost[:5]) + (", ..." if len(lost) > 5 else "")
    return [f"{name} has no score for {len(lost)} of {len(scores)} candidates, which come last by it: {told}"]


def _ranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 for the highest; equal ones share the mean of their ranks."""
    from scipy.stats import rankdata

    return np.asarray(rankdata([-one if math.isfinite(one) else math.inf for one in scores]))
