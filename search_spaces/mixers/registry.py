"""The mixers known by name. A user's own joins with one call to ``register_mixer``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from results.names import unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixer:
    """A token mixer, by name.

    Attributes:
        name: what recipes call it; also part of its parameters' names, so mixers never share weights.
        make: ``make(channels, activation=..., kernel=...) -> nn.Module`` on (B, C, H, W) -> (B, C, H, W);
            ``kernel`` is given only where ``reads_kernel``. None stands for no mixer at all.
        reads_kernel: whether the block's kernel size means something to it.
        channel_multiple: the widths it can take are multiples of this (the head size of attention).
    """

    name: str
    make: Callable[..., nn.Module] | None
    reads_kernel: bool = False
    channel_multiple: int = 1


MIXERS: dict[str, Mixer] = {"identity": Mixer(name="identity", make=None)}


def register_mixer(entry: Mixer) -> None:
    """Adds a mixer.

    It must obey the prefix rule: what channel j does never depends on the active width.

    Raises:
        ValueError: the name is taken.
    """
    if entry.name in MIXERS:
        raise ValueError(f"a mixer named {entry.name!r} is already registered; choose another name")
    MIXERS[entry.name] = entry


def mixer(name: str) -> Mixer:
    """The mixer of that name.

    Raises:
        ValueError: there is none; the message names the nearest.
    """
    if name not in MIXERS:
        raise ValueError(unknown("mixer", name, MIXERS))
    return MIXERS[name]
