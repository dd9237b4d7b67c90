"""Training rules: which subnets run in a step, in what order, and what each learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nas.rules.buckets import cost_buckets
from nas.rules.delayed import delayed
from nas.rules.exits import exits
from nas.rules.moment import Rule
from nas.rules.nested import nested
from nas.rules.progressive import progressive
from nas.rules.registry import RULES
from nas.rules.resolution import at_resolutions
from nas.rules.sandwich import sandwich
from nas.rules.uniform import uniform

__all__ = [
    "RULES",
    "cost_buckets",
    "delayed",
    "exits",
    "nested",
    "progressive",
    "rule",
    "sandwich",
    "uniform",
]


def rule(
    name: str,
    options: Mapping[str, object] | None = None,
    *,
    resolutions: Sequence[tuple[int, int]] = (),
) -> Rule:
    """The rule of that name with these settings.

    Args:
        name: one of ``RULES``.
        options: settings of the rule by name; those left out keep their defaults.
        resolutions: (height, width) of the inputs that subnets see; empty keeps the images as they are.

    Raises:
        ValueError: an unknown name, or everything that is wrong with the options.
    """
    chosen: Rule = RULES.configured(name, options or {})
    return at_resolutions(chosen, resolutions) if resolutions else chosen
