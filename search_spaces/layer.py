"""A layer: one part of a lowered network with every size resolved, and the slots layers come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from results.precision import in_precision
from search_spaces.choice import Value

if TYPE_CHECKING:  # keeps `import search_spaces.space` free of torch; no cycle is hidden here
    from torch import nn

Sizes = tuple[tuple[str, Value], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer of a lowered arch.

    Attributes:
        name: the layer's name in the network, and so the prefix of its parameters' names.
        kind: what it is (``depthwise``, ``mlp``, ``stem``); with ``sizes`` and ``input_shape`` it
            identifies what is measured: two layers with the same key cost the same.
        sizes: the keyword arguments of ``make``, as a sorted tuple of pairs.
        input_shape: (C, H, W) or whatever the layer takes, without the batch dimension.
        output_shape: shape of the output, without the batch.
        make: builds the module from ``sizes``.
        precision: number format that it has in files (``int8``, ``fp32``); empty where the network has one.
    """

    name: str
    kind: str
    sizes: Sizes
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    make: Callable[..., nn.Module]
    precision: str = ""

    @classmethod
    def of(
        cls,
        name: str,
        kind: str,
        make: Callable[..., nn.Module],
        input_shape: tuple[int, ...],
        output_shape: tuple[int, ...],
        sizes: Mapping[str, Value],
    ) -> Layer:
        """The layer with these sizes, in any order."""
        return cls(
            name=name,
            kind=kind,
            sizes=tuple(sorted(sizes.items())),
            input_shape=input_shape,
            output_shape=output_shape,
            make=make,
        )

    @property
    def key(self) -> str:
        """What this layer is, whatever its place: the key of cost tables."""
        sizes = ",".join(f"{name}={value}" for name, value in self.sizes)
        where = f"{self.kind}({sizes})@{'x'.join(map(str, self.input_shape))}"
        return f"{where} in {self.precision}" if self.precision else where

    def build(self) -> nn.Module:
        """The layer as a module with freshly initialised parameters."""
        module = self.make(**dict(self.sizes))
        return in_precision(module, self.precision) if self.precision else module


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A place in the network, and the choices that decide which layer stands there.

    Attributes:
        name: the place (``stage1.block0.mixer``).
        choices: names of the choices the layer depends on, and no others.
        layer: gives the layer of an arch that holds those choices' values by name; None where nothing stands.
    """

    name: str
    choices: tuple[str, ...]
    layer: Callable[[Mapping[str, Value]], Layer | None]
