"""Networks with weights: those of a supernet that they share, or of trainings of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from nas.supernet.calibration import recalibrate
from nas.supernet.supernet import Supernet
from runners.data.prepared import RunData
from search_spaces.space import Arch, SearchSpace


class Networks(Protocol):
    """Networks of a space with their weights."""

    @property
    def space(self) -> SearchSpace:
        """The space they are of."""
        ...

    def network(self, arch: Arch) -> nn.Module:
        """The network of an arch, its BatchNorm statistics set, in eval mode."""
        ...

    def teacher(self) -> nn.Module | None:
        """A larger network that knows more, likewise; None where there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Inherited:
    """Networks extracted from a supernet; the largest teaches.

    Attributes:
        supernet: Supernet, trained.
        data: Data with the images for the BatchNorm statistics.
    """

    supernet: Supernet
    data: RunData

    @property
    def space(self) -> SearchSpace:
        """The supernet's."""
        return self.supernet.space

    def network(self, arch: Arch) -> nn.Module:
        """The network of an arch with inherited weights."""
        return recalibrate(self.supernet.extract(arch), self.data.calibration)

    def teacher(self) -> nn.Module | None:
        """The largest network."""
        return self.network(self.space.largest())


_OWN_CALIBRATION = 4096  # training images; statistics of few cost accuracy


def own_calibration(data: RunData) -> Tensor:
    """Training images for the BatchNorm statistics of a network that was trained alone, (N, C, H, W).

    More than a search has time for, which scores hundreds of networks.
    """
    return data.augmented_images(max(data.calibration_images, _OWN_CALIBRATION))


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """Networks that were trained alone; nobody teaches.

    Attributes:
        space: Space they are of.
        load: Gives the supernet of one network.
        data: Data with the images for the BatchNorm statistics.
    """

    space: SearchSpace
    load: Callable[[Arch], Supernet]
    data: RunData

    def network(self, arch: Arch) -> nn.Module:
        """The network of an arch with its own weights."""
        return recalibrate(self.load(arch).extract(arch), own_calibration(self.data))

    def teacher(self) -> nn.Module | None:
        """Nobody: the networks of a race are equals."""
        return None
