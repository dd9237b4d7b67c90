"""CKConv: a long kernel that is a small network of the distance."""

from __future__ import annotations

from torch import Tensor, nn

from search_spaces.mixers.generated.coordinates import Sines
from search_spaces.mixers.generated.kernel_conv import offsets
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.mixers.sequence.raster import REACH, LongMixer, acting
from search_spaces.parts import Positive


class CkConv(LongMixer):
    """A long convolution whose kernel is a function of the distance, (B, C, H, W) -> (B, C, H, W).

    "CKConv: Continuous Kernel Convolution For Sequential Data" (Romero et al., ICLR 2022), section 4: the
    function is a network of sines, and has as many parameters whatever the length. Distances are counted
    in ``unit`` positions, so that a shorter kernel is the middle of a longer; in the paper they span the
    kernel. Its convolutions are causal and dense, ours see both ways and are depthwise with a 1x1
    convolution behind.

    Args:
        channels: C.
        activation: name of the activation after the long convolution.
        reach: positions seen to each side.
        unit: positions for one unit of the coordinate.
    """

    def __init__(self, channels: int, *, activation: str, reach: Positive, unit: Positive = 32) -> None:
        super().__init__(DistanceKernel(channels, reach, unit), channels, activation)


class DistanceKernel(nn.Module):
    """The kernel (C, 1, 1, 2 reach + 1) of ``ckconv``."""

    of_weights = True

    def __init__(self, channels: int, reach: int, unit: int) -> None:
        super().__init__()
        self.reach, self.unit = reach, unit
        self.network = Sines(1, channels)

    def forward(self) -> Tensor:
        distances = offsets(1, 2 * self.reach + 1, self.unit, self.network.last.weight)[0, :, 1:]
        values: Tensor = self.network(distances)  # (2 reach + 1, C)
        return values.transpose(0, 1)[:, None, None]


register_mixer(Mixer(name="ckconv", make=CkConv, choices=(REACH,), acting=acting))
