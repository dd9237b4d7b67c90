"""The heads of built-in spaces: pooling and a classifier, and wider layers where a space has them."""

from __future__ import annotations

from dataclasses import dataclass

from search_spaces.choice import Value
from search_spaces.layer import Layer, Slot
from search_spaces.parts import Head, WideHead
from search_spaces.space import Arch
from search_spaces.spaces.maps import Maps


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSizes:
    """What a head is beside the width of the last stage.

    Attributes:
        classes: outputs.
        hidden: features of a linear layer between pooling and classifier; 0 for none.
        activation: name of the activation of both.
        last: channels of a 1x1 convolution before the pooling; 0 for none.
    """

    classes: int
    hidden: int
    activation: str
    last: int = 0

    def slot(self, name: str, width: str, maps: Maps) -> Slot:
        """The pooled classifier.

        Args:
            name: name of the slot, and of its layers.
            width: choice of the channels of the last stage.
            maps: sizes of the last stage's maps.
        """

        def layer(arch: Arch) -> Layer:
            return self._layer(name, (int(arch[width]), *maps.at(arch)))

        return Slot(name=name, choices=(*maps.choices, width), layer=layer)

    def _layer(self, name: str, shape: tuple[int, int, int]) -> Layer:
        sizes: dict[str, Value] = {"channels": shape[0], "classes": self.classes}
        if not self.last and not self.hidden:
            return Layer.of(name, "head", Head, shape, (self.classes,), sizes)
        sizes |= {"last": self.last, "hidden": self.hidden, "activation": self.activation}
        return Layer.of(name, "wide_head", WideHead, shape, (self.classes,), sizes)
