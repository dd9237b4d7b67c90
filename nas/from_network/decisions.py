"""What the choices of such a space decide, and the space itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn

from nas.from_network.cutting import Cuttable, Stretches, entries
from search_spaces.choice import Choice, Value
from search_spaces.space import Arch, SearchSpace, Shape


@dataclass(slots=True, kw_only=True)
class Sizes:
    """What is left of a network.

    Attributes:
        units: units of each group of channels.
        dropped: names of blocks that go.
        kernels: side of kernels, by the convolution's name.
    """

    units: dict[str, int] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    kernels: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Width:
    """A choice of channels, or of heads.

    Attributes:
        group: group of channels.
        each: channels, or heads, that a unit of the group counts.
    """

    group: str
    each: int

    def settle(self, value: Value, sizes: Sizes) -> None:
        """Says how many units are left for a value."""
        sizes.units[self.group] = int(value) // self.each


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """A choice of how many times more channels a block has inside than come in.

    Attributes:
        group: group of channels inside the block.
        units: how many there are in the whole network.
        each: channels of a unit.
        over: what comes in, as stretches of other groups.
    """

    group: str
    units: int
    each: int
    over: Stretches

    def settle(self, value: Value, sizes: Sizes) -> None:
        """Says how many units are left for a value; what comes in is settled before."""
        wanted = float(value) * entries(self.over, sizes.units) / self.each
        sizes.units[self.group] = min(max(round(wanted), 1), self.units)


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """A choice of how many of several equal blocks are left, from the first on.

    Attributes:
        blocks: their names, in order.
    """

    blocks: tuple[str, ...]

    def settle(self, value: Value, sizes: Sizes) -> None:
        """Says which go for a value."""
        sizes.dropped += self.blocks[int(value) :]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A choice of the side of a kernel.

    Attributes:
        conv: name of the convolution.
    """

    conv: str

    def settle(self, value: Value, sizes: Sizes) -> None:
        """Says how large it is for a value."""
        sizes.kernels[self.conv] = int(value)


Decision = Width | Expansion | Depth | Kernel


class Builder:
    """Makes the network of an arch, with the weights that the whole network has there.

    Args:
        whole: the whole network.
        decisions: what each choice decides, by its name.
    """

    def __init__(self, whole: Cuttable, decisions: dict[str, Decision]) -> None:
        self.whole, self.decisions = whole, decisions

    def sizes(self, arch: Arch) -> Sizes:
        """What is left of the whole network for an arch."""
        sizes = Sizes()
        later = [name for name, one in self.decisions.items() if isinstance(one, Expansion)]
        for name in [*(name for name in self.decisions if name not in later), *later]:
            self.decisions[name].settle(arch[name], sizes)
        return sizes

    def __call__(self, arch: Arch) -> nn.Module:
        """The network of an arch."""
        sizes = self.sizes(arch)
        dropped = [
            one for one in sizes.dropped if not any(one.startswith(f"{other}.") for other in sizes.dropped)
        ]
        return self.whole.cut(sizes.units, dropped=dropped, kernels=sizes.kernels)


def network_space(
    name: str,
    whole: Cuttable,
    choices: Sequence[Choice],
    decisions: dict[str, Decision],
    *,
    input_shape: Shape,
) -> SearchSpace:
    """The space of the networks that are cut from a whole one; ``largest`` is the whole.

    Args:
        name: name of the space.
        whole: the whole network.
        choices: choices, parents before their children.
        decisions: what each of the choices decides, by name.
        input_shape: shape of an input, (C, H, W).
    """
    return SearchSpace(name, choices, Builder(whole, decisions), input_shape=input_shape)
