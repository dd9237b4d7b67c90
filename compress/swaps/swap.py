"""What was exchanged in a network, and how it is done again."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from torch import nn

from compress.plain import plain_copy
from results.records import Record
from results.registry import Registry

SWAPS: Registry[Callable[..., nn.Module | None]] = Registry("exchange of operators")
"""Kinds of exchange by name: ``f(old, *, ...settings)`` gives a cheaper module that takes and gives the same
shapes, its first values made from the old one's; None where it stands for no such module. Settings are whole
numbers. One with a method ``fit(inputs, outputs)`` learns by that, others by gradients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap(Record):
    """One exchange; a sequence of them makes a network's modules out of those it began with.

    Attributes:
        module: name of the module that is exchanged.
        kind: name of the exchange.
        settings: settings of it.
    """

    module: str
    kind: str
    settings: dict[str, int] = field(default_factory=dict)


def swapped(network: nn.Module, swaps: Collection[Swap]) -> nn.Module:
    """A copy with these exchanges made; weights are first values, to be learned or loaded.

    Args:
        network: network as it was when they were made first; it is left untouched.
        swaps: exchanges in order.

    Raises:
        ValueError: an exchange does not belong to this network.
    """
    if not swaps:
        return network
    found = plain_copy(network)
    for one in swaps:
        modules = dict(found.named_modules())
        old = modules.get(one.module)
        new = None if old is None else SWAPS.configured(one.kind, one.settings)(old)
        if old is None or new is None:
            what = "no such module" if old is None else f"a {type(old).__name__}"
            raise ValueError(
                f"the exchange {one.kind!r} of {one.module!r} does not belong to this network, which has "
                f"{what} there"
            )
        found.set_submodule(one.module, new.train(old.training))
    return found
