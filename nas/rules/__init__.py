"""Training rules: which subnets run in a step, in what order, and what each learns from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from nas.rules.buckets import cost_buckets
from nas.rules.delayed import delayed
from nas.rules.nested import nested
from nas.rules.progressive import progressive
from nas.rules.resolution import at_resolutions
from nas.rules.sandwich import sandwich
from nas.rules.step import Pass, Rule
from nas.rules.uniform import uniform
from results.names import unknown

RULES: dict[str, Callable[..., list[Pass]]] = {
    "sandwich": sandwich,
    "progressive": progressive,
    "delayed": delayed,
    "nested": nested,
    "cost_buckets": cost_buckets,
    "uniform": uniform,
}
"""By name: ``f(moment, *, random_subnets)``. Add your own before a recipe is read."""


def rule(name: str, *, random_subnets: int = 2, resolutions: Sequence[tuple[int, int]] = ()) -> Rule:
    """The rule of that name.

    Args:
        name: one of ``RULES``.
        random_subnets: how many random subnets a step has beside two others; a step has
            ``random_subnets + 2`` passes, fewer while a rule trains the largest alone.
        resolutions: (height, width) of the inputs that subnets see; empty keeps the images as they are.

    Raises:
        ValueError: an unknown name.
    """
    if name not in RULES:
        raise ValueError(unknown("training rule", name, RULES))
    chosen = partial(RULES[name], random_subnets=random_subnets)
    return at_resolutions(chosen, resolutions) if resolutions else chosen
