"""A search space: choices, the integer matrices of archs over them, and how an arch becomes a network.

An arch is a mapping from choice names to values for people, and a row of value indices for machines.
Everything here that touches many archs works on a matrix of such rows, int64 of shape
(n archs, n choices), and is vectorised.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from results.names import unknown
from search_spaces.choice import Choice, Value
from search_spaces.layer import Layer, Slot

if TYPE_CHECKING:  # keeps this import free of torch; no cycle is hidden here
    from torch import nn

Arch = Mapping[str, Value]
Rows = NDArray[np.int64]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SlotTable:
    """The layer of a slot for every combination of its choices, flat in row-major order.

    Attributes:
        columns: the columns of the slot's choices.
        strides: what one step in each of them moves in ``layers``.
        layers: one entry per combination; None where nothing stands.
    """

    columns: tuple[int, ...]
    strides: tuple[int, ...]
    layers: tuple[Layer | None, ...]

    def position(self, rows: Rows) -> Rows:
        """Index into ``layers`` for each row, (n,)."""
        at = np.zeros(len(rows), dtype=np.int64)
        for column, stride in zip(self.columns, self.strides, strict=True):
            at += rows[:, column] * stride
        return at

    def at(self, row: Sequence[int]) -> Layer | None:
        """The layer of one row."""
        return self.layers[
            sum(row[column] * stride for column, stride in zip(self.columns, self.strides, strict=True))
        ]


def _slot_table(space: SearchSpace, slot: Slot) -> SlotTable:
    columns = tuple(space.column[name] for name in slot.choices)
    values = [space.choices[column].values for column in columns]
    strides = tuple(math.prod(len(options) for options in values[i + 1 :]) for i in range(len(values)))
    archs = (dict(zip(slot.choices, combination, strict=True)) for combination in itertools.product(*values))
    return SlotTable(columns, strides, tuple(slot.layer(arch) for arch in archs))


class SearchSpace:
    """An ordered set of choices, plus how an arch becomes a network.

    Give either ``build`` (your own model: ``build(arch) -> nn.Module``) or ``slots`` (a network that is
    a sequence of layers; then building, counting and timing all read the same list).

    Args:
        name: stands in files and messages.
        choices: parents before their children.
        build: makes the plain static network of an arch.
        slots: the places of a layered network, in order of execution.
        input_shape: (C, H, W) without the batch, or a function of the arch where the arch decides it.
        probes: archs that a supernet has to look at to know every parameter, where the space only builds and
            some parameters are in few networks; it looks at the ends and at random ones by itself.

    Raises:
        ValueError: repeated or unknown choice names, a parent that comes later or lacks the value.
    """

    def __init__(
        self,
        name: str,
        choices: Iterable[Choice],
        build: Callable[[Arch], nn.Module] | None = None,
        *,
        slots: Sequence[Slot] = (),
        input_shape: Shape | Callable[[Arch], Shape] = (3, 32, 32),
        probes: Iterable[Arch] = (),
    ) -> None:
        self.name = name
        self.choices = tuple(choices)
        self.slots = tuple(slots)
        self._build = build
        self._input_shape = input_shape
        self.probes = tuple(probes)
        if (build is None) == (not self.slots):
            raise ValueError(f"space {name!r}: give either build or slots")
        self.names = tuple(choice.name for choice in self.choices)
        self.column = {choice: index for index, choice in enumerate(self.names)}
        if len(self.column) != len(self.names):
            repeated = sorted({choice for choice in self.names if self.names.count(choice) > 1})
            raise ValueError(f"space {name!r} repeats choices: {', '.join(repeated)}")
        self.n_values: Rows = np.array([len(choice.values) for choice in self.choices], dtype=np.int64)
        self.categorical = np.array([choice.categorical for choice in self.choices], dtype=bool)
        self._parents = [self._parent(index) for index in range(len(self.choices))]
        for slot in self.slots:
            for needed in slot.choices:
                if needed not in self.column:
                    raise ValueError(f"slot {slot.name!r}: {unknown('choice', needed, self.names)}")

    def _parent(self, index: int) -> tuple[int, NDArray[np.bool_]] | None:
        """The column of a choice's parent, and which of the parent's value indices make it active."""
        choice = self.choices[index]
        if not choice.parent:
            return None
        if choice.parent not in self.names[:index]:
            raise ValueError(
                f"choice {choice.name!r}: its parent {choice.parent!r} must be a choice that comes before it"
            )
        parent = self.choices[self.column[choice.parent]]
        for value in choice.parent_values:
            if value not in parent.values:
                raise ValueError(
                    f"choice {choice.name!r}: {parent.name!r} never takes {value!r}, only {parent.values}"
                )
        return self.column[parent.name], np.array([value in choice.parent_values for value in parent.values])

    # -- archs one at a time ---------------------------------------------------------------------

    def to_arch(self, row: Sequence[int] | Rows) -> dict[str, Value]:
        """The mapping of a row; inactive choices take their default."""
        canonical = self.canonical(np.asarray(row, dtype=np.int64)[None])[0]
        return {choice.name: choice.values[i] for choice, i in zip(self.choices, canonical, strict=True)}

    def to_row(self, arch: Arch) -> Rows:
        """The canonical row of a mapping. Choices that are inactive may be left out.

        Raises:
            ValueError: an unknown choice, a value that is not among its choice's, an active choice missing.
        """
        return np.array(self._indices(arch), dtype=np.int64)

    def _indices(self, arch: Arch) -> list[int]:
        """The canonical row as plain numbers: for one arch ten times faster than the vectorised way."""
        for name in arch:
            if name not in self.column:
                raise ValueError(unknown("choice", name, self.names))
        row = [0] * len(self.choices)
        active = [True] * len(self.choices)
        missing = []
        for index, choice in enumerate(self.choices):
            parent = self._parents[index]
            if parent is not None:
                active[index] = active[parent[0]] and bool(parent[1][row[parent[0]]])
            if choice.name in arch:
                value = arch[choice.name]
                if value not in choice.values:
                    raise ValueError(f"choice {choice.name!r} takes {choice.values}, not {value!r}")
                row[index] = choice.values.index(value) if active[index] else 0
            elif active[index]:
                missing.append(choice.name)
        if missing:
            raise ValueError(f"the arch says nothing of {', '.join(missing)}")
        return row

    def smallest(self) -> dict[str, Value]:
        """The arch with the first value of every choice."""
        return self.to_arch(np.zeros(len(self.choices), dtype=np.int64))

    def largest(self) -> dict[str, Value]:
        """The arch with the last value of every choice."""
        return self.to_arch(self.n_values - 1)

    def only(self, arch: Arch) -> SearchSpace:
        """The space that holds this one arch: what its network trained alone is a supernet of.

        Raises:
            ValueError: no arch of this space.
        """
        whole = self.to_arch(self.to_row(arch))
        choices = [Choice(name, (value,)) for name, value in whole.items()]
        return SearchSpace(self.name, choices, self._build, slots=self.slots, input_shape=self._input_shape)

    def input_shape(self, arch: Arch) -> Shape:
        """(C, H, W) of one input of this arch, without the batch."""
        return self._input_shape(arch) if callable(self._input_shape) else self._input_shape

    # -- populations ------------------------------------------------------------------------------

    def active(self, rows: Rows) -> NDArray[np.bool_]:
        """Which choices matter, (n, n choices): a choice whose parent is off or elsewhere does not."""
        mask = np.ones(rows.shape, dtype=bool)
        for index, parent in enumerate(self._parents):
            if parent is not None:
                column, allowed = parent
                mask[:, index] = mask[:, column] & allowed[rows[:, column]]
        return mask

    def canonical(self, rows: Rows) -> Rows:
        """The same archs with inactive choices at their default (index 0). Idempotent."""
        return np.where(self.active(rows), rows, 0)

    def valid(self, rows: Rows) -> NDArray[np.bool_]:
        """Which rows have every index in range, (n,)."""
        rows = np.asarray(rows)
        if rows.ndim != 2 or rows.shape[1] != len(self.choices):
            raise ValueError(
                f"rows of {self.name!r} have {len(self.choices)} columns, got shape {rows.shape}"
            )
        return np.asarray(((rows >= 0) & (rows < self.n_values)).all(axis=1))

    def sample(self, n: int, rng: np.random.Generator) -> Rows:
        """n canonical archs, every choice uniform over its values."""
        return self.canonical(rng.integers(0, self.n_values, size=(n, len(self.choices))))

    def mutate(self, rows: Rows, rng: np.random.Generator, *, rate: float) -> Rows:
        """Each active choice moves to another of its values with probability ``rate``, at least one per row.

        A row of a space in which no active choice has a second value comes back unchanged.
        """
        movable = self.active(rows) & (self.n_values > 1)
        flip = movable & (rng.random(rows.shape) < rate)
        # One movable choice is forced where chance chose none: a mutation that changes nothing is wasted.
        draw = np.where(movable, rng.random(rows.shape), -1.0)
        forced = np.zeros_like(flip)
        forced[np.arange(len(rows)), draw.argmax(axis=1)] = True
        flip |= forced & movable & ~flip.any(axis=1, keepdims=True)
        shift = rng.integers(1, np.maximum(self.n_values, 2), size=rows.shape)
        return self.canonical(np.where(flip, (rows + shift) % self.n_values, rows))

    def crossover(self, first: Rows, second: Rows, rng: np.random.Generator) -> Rows:
        """Uniform crossover: each choice from either parent with equal probability."""
        return self.canonical(np.where(rng.random(first.shape) < 0.5, first, second))

    def neighbours(self, row: Rows) -> Rows:
        """Every canonical arch that differs from this one in one active choice, without repeats."""
        row = self.canonical(np.asarray(row)[None])[0]
        active = self.active(row[None])[0]
        steps = []
        for index in np.flatnonzero(active):
            for value in range(self.n_values[index]):
                if value != row[index]:
                    step = row.copy()
                    step[index] = value
                    steps.append(step)
        if not steps:
            return np.empty((0, len(row)), dtype=np.int64)
        return np.unique(self.canonical(np.array(steps)), axis=0)

    def one_hot(self, rows: Rows) -> NDArray[np.float64]:
        """Features for predictors, (n, sum of n_values): one column per value, zero where inactive."""
        offsets = np.concatenate([[0], np.cumsum(self.n_values)[:-1]])
        features = np.zeros((len(rows), int(self.n_values.sum())))
        at, which = np.nonzero(self.active(rows))
        features[at, offsets[which] + rows[at, which]] = 1.0
        return features

    @cached_property
    def size(self) -> int:
        """How many different canonical archs there are, exactly."""
        children: dict[int, list[tuple[int, NDArray[np.bool_]]]] = {i: [] for i in range(len(self.choices))}
        roots = []
        for index, parent in enumerate(self._parents):
            if parent is None:
                roots.append(index)
            else:
                children[parent[0]].append((index, parent[1]))

        def count(index: int) -> int:
            total = 0
            for value in range(int(self.n_values[index])):
                ways = 1
                for child, allowed in children[index]:
                    if allowed[value]:
                        ways *= count(child)
                total += ways
            return total

        size = 1
        for root in roots:
            size *= count(root)
        return size

    def enumerate(self, limit: int = 1_000_000) -> Rows:
        """Every canonical arch, (size, n choices).

        Raises:
            ValueError: the space holds more than ``limit``.
        """
        if self.size > limit:
            raise ValueError(f"space {self.name!r} holds {self.size:.3g} archs; enumerating stops at {limit}")
        rows = np.zeros((1, len(self.choices)), dtype=np.int64)
        for index in range(len(self.choices)):  # parents come first, so activity is known column by column
            grown = np.repeat(rows, self.n_values[index], axis=0)
            grown[:, index] = np.tile(np.arange(self.n_values[index]), len(rows))
            keep = self.active(grown)[:, index] | (grown[:, index] == 0)
            rows = grown[keep]
        return rows

    # -- layers -----------------------------------------------------------------------------------

    @cached_property
    def _tables(self) -> list[SlotTable]:
        return [_slot_table(self, slot) for slot in self.slots]

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Every distinct layer of the space once, in order of first appearance: what a profile measures."""
        return tuple({layer.key: layer for layer in self.slot_layers()}.values())

    def slot_layers(self) -> Iterator[Layer]:
        """Every layer that can stand in some slot, slot by slot; the same layer may come again."""
        for table in self._tables:
            yield from (layer for layer in table.layers if layer is not None)

    @cached_property
    def _layer_ids(self) -> list[Rows]:
        ids = {layer.key: index for index, layer in enumerate(self.layers)}
        return [
            np.array([-1 if layer is None else ids[layer.key] for layer in table.layers])
            for table in self._tables
        ]

    def layer_ids(self, rows: Rows) -> Rows:
        """Which of ``layers`` stands in each slot, (n, n slots); -1 where nothing does."""
        ids = np.empty((len(rows), len(self.slots)), dtype=np.int64)
        for index, (table, layer_ids) in enumerate(zip(self._tables, self._layer_ids, strict=True)):
            ids[:, index] = layer_ids[table.position(rows)]
        return ids

    def sum_over_layers(self, rows: Rows, per_layer: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum of a per-layer quantity over the layers of each arch, (n,): the additive cost of a population.

        Args:
            rows: (n, n choices), canonical.
            per_layer: one value for each of ``layers``; NaN or infinity carries over to the archs using it.
        """
        padded = np.append(np.asarray(per_layer, dtype=np.float64), 0.0)  # index -1 reads the zero
        total = np.zeros(len(rows))
        columns = np.asfortranarray(rows)  # slots read whole columns
        for table, layer_ids in zip(self._tables, self._layer_ids, strict=True):
            total += padded[layer_ids][table.position(columns)]
        return total

    def lower(self, arch: Arch) -> tuple[Layer, ...]:
        """The arch as the layers of its network, in order of execution, all sizes resolved.

        Raises:
            ValueError: this space has only ``build``; its layers are known by tracing, not by lowering.
        """
        if not self.slots:
            raise ValueError(f"space {self.name!r} has no slots; it only knows how to build its networks")
        row = self._indices(arch)
        found = (table.at(row) for table in self._tables)
        return tuple(layer for layer in found if layer is not None)

    def build(self, arch: Arch) -> nn.Module:
        """The plain static network of an arch, freshly initialised."""
        if self._build is not None:
            return self._build(self.to_arch(self.to_row(arch)))
        from torch import nn

        return nn.Sequential(OrderedDict((layer.name, layer.build()) for layer in self.lower(arch)))

    @cached_property
    def fingerprint(self) -> str:
        """A short hash of the choices and layers: files made for another space are told by it."""
        choices = [[c.name, c.values, c.parent, c.parent_values] for c in self.choices]
        text = json.dumps([self.name, choices, [layer.key for layer in self.layers]])
        return hashlib.sha256(text.encode()).hexdigest()[:16]
