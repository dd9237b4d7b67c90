"""What a published space is here."""

from __future__ import annotations

from dataclasses import dataclass

from search_spaces.space import Arch
from search_spaces.spaces.convnet import ConvNet
from search_spaces.spaces.metaformer import MetaFormer


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A published space with the network that it was made around.

    Attributes:
        space: its choices.
        base: arch of the network.
        parameters: number of its parameters that was published, for 1,000 classes.
        macs: its multiply-accumulates that were published, for one image.
        side: height and width of that image.
    """

    space: ConvNet | MetaFormer
    base: Arch
    parameters: float
    macs: float
    side: int = 224
