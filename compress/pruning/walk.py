"""Walks through torch-pruning's graph that end: on networks with certain reshapes its own never do.

The bounds stand in the lists of one graph, and not in torch-pruning's classes, so that several threads may
each follow a network of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn
from torch_pruning.dependency.index_mapping import _FlattenIndexMapping

_MOST_VISITS, _SPARE_STEPS = 8, 1000
"""Steps of a walk for each way between two layers, and beyond: ways are gone a few times, for parts of a
concatenation. Groups that end farther away are known of mixed kernels alone, which cannot be cut either."""
_MOST_PLACES = 64
"""Most places that channels may become at reshapes, over the channels of the widest layer. What is flattened
for a layer is as wide as that layer, so more than these are in no network."""


class Walk:
    """The bounds of the walks through one graph.

    Args:
        graph: torch-pruning's graph.
    """

    def __init__(self, graph: Any) -> None:
        ways = sum(len(node.dependencies) for node in graph.module2node.values())
        parts = (part for part in graph.module2node if isinstance(part, nn.Module))
        sizes = (size for part in parts for parameter in part.parameters() for size in parameter.shape)
        self._most_steps = _SPARE_STEPS + _MOST_VISITS * ways
        self._steps = 0
        self.most_places = _MOST_PLACES * max(sizes, default=1)

    def begin(self) -> None:
        """Begins another walk."""
        self._steps = 0

    def step(self) -> None:
        """Counts a step.

        Raises:
            ValueError: there were too many.
        """
        self._steps += 1
        if self._steps > self._most_steps:
            raise ValueError("its reshapes are taken to move the channels on each time they are followed")


def watched(graph: Any) -> Any:
    """The graph, its walks bounded from now on; they are in its new attribute ``walk``."""
    graph.walk = walk = Walk(graph)
    for node in graph.module2node.values():
        for dependency in node.dependencies:
            dependency.index_mapping = _Mappings(dependency.index_mapping, walk)
        node.dependencies = _Dependencies(node.dependencies, walk)
    return graph


class _Dependencies(list[Any]):
    """The ways on from a node; each time they are looked through is a step of a walk."""

    def __init__(self, ways: Iterable[Any], walk: Walk) -> None:
        super().__init__(ways)
        self._walk = walk

    def __iter__(self) -> Iterator[Any]:
        self._walk.step()
        return super().__iter__()


class _Mappings(list[Any]):
    """What becomes of channels on a way, which torch-pruning sets anew before each walk."""

    def __init__(self, mappings: Iterable[Any], walk: Walk) -> None:
        self._walk = walk
        super().__init__(map(self._bounded, mappings))

    def __setitem__(self, place: Any, mapping: Any) -> None:
        super().__setitem__(place, self._bounded(mapping))

    def _bounded(self, mapping: Any) -> Any:
        return _Flattening(mapping, self._walk) if isinstance(mapping, _FlattenIndexMapping) else mapping


class _Flattening(_FlattenIndexMapping):
    """A reshape that refuses to multiply channels without an end."""

    def __init__(self, mapping: Any, walk: Walk) -> None:
        super().__init__(stride=mapping._stride, reverse=mapping.reverse)
        self._walk = walk

    def __call__(self, indices: Any) -> Any:
        if not self.reverse and len(indices) * self._stride > self._walk.most_places:
            raise ValueError("its reshapes are taken to multiply the channels each time around a shortcut")
        return super().__call__(indices)
