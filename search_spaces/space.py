"""A search space: choices, the integer matrices of archs over them, and how an arch becomes a network.

An arch is a mapping from choice names to values for people, and a row of value indices for machines.
Everything here that touches many archs works on a matrix of such rows, int64 of shape
(n archs, n choices), and is vectorised.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from results.names import unknown
from search_spaces.choice import Choice, Value
from search_spaces.conditions import Parent, active, count_archs
from search_spaces.layer import Layer, Slot
from search_spaces.reference.extremes import Term, argmax, argmin, canonical_terms, sweep
from search_spaces.slot_table import SlotTable, slot_table

if TYPE_CHECKING:  # keeps this import free of torch; no cycle is hidden here
    from torch import nn

Arch = Mapping[str, Value]
Rows = NDArray[np.int64]
Shape = tuple[int, ...]


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
        reference: arch that ``largest`` stands for; the one with the most multiply-accumulates by default.
            Larger ones are trained and searched all the same.

    Raises:
        ValueError: repeated or unknown choice names, a parent that comes later or lacks the value, a
            reference that is no arch of the space.
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
        reference: Arch | None = None,
    ) -> None:
        self.name = name
        self.choices = tuple(choices)
        self.slots = tuple(slots)
        self._build = build
        self._input_shape = input_shape
        self.probes = (*probes, reference) if reference is not None else tuple(probes)
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
        self._reference: Rows | None = None if reference is None else self.to_row(reference)

    def _parent(self, index: int) -> Parent:
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
        """The arch with the fewest multiply-accumulates; of equal ones that with the earliest values.

        Found as ``largest`` is, where none is declared.
        """
        return self.to_arch(self._low)

    def largest(self) -> dict[str, Value]:
        """The space's reference network: the declared one, else that with the most multiply-accumulates.

        Exact in a space of slots, whose layers are built and counted once (``reference.extremes``). In a
        space that only builds, sizes, kernels and depths take their last values, which are the most expensive
        by contract, and each category in turn the value with which the network has most: one network is built
        and counted for each value, ``reference.extremes.MOST_COUNTED`` at most. Of equal ones it is that with
        the latest values.
        """
        return self.to_arch(self._high if self._reference is None else self._reference)

    @property
    def ends(self) -> Rows:
        """The canonical rows with the fewest and the most multiply-accumulates, (2, n choices).

        A declared reference has no part in them.
        """
        return np.stack([self._low, self._high])

    @cached_property
    def _low(self) -> Rows:
        return self._end(np.zeros_like(self.n_values), argmin, -1)

    @cached_property
    def _high(self) -> Rows:
        return self._end(self.n_values - 1, argmax, 1)

    def _end(self, plain: Rows, solve: Callable[..., Rows | None], sign: int) -> Rows:
        """The exact end where there is one, unless the plain one is as good; else what a sweep finds."""
        exact = None
        if self.slots and self.size > 1:
            exact = solve(self.n_values, self.terms(self.layer_macs), self.canonical_terms)
        if exact is not None:
            found = plain if self._macs(plain) == self._macs(exact) else exact
        else:
            movable = np.flatnonzero(self.categorical & (self.n_values > 1))
            categories = {int(at): int(self.n_values[at]) for at in movable}
            found = sweep(plain, categories, self.canonical, lambda row: sign * self._macs(row))
        return np.asarray(self.canonical(found[None])[0])

    def _macs(self, row: Rows) -> float:
        """Multiply-accumulates of one arch; not a number where its network cannot be counted."""
        canonical = self.canonical(row[None])
        if self.slots:
            return float(self.sum_over_layers(canonical, self.layer_macs)[0])
        from search_spaces.reference.macs import macs_as_built

        arch = self.to_arch(canonical[0])
        try:
            return float(macs_as_built(partial(self.build, arch), self.input_shape(arch)))
        except Exception:  # whatever a user's network raises; who needs the network is told by building it
            return float("nan")

    @property
    def canonical_terms(self) -> list[Term]:
        """Combinations of values that are canonical, a term for each choice that depends on others."""
        return canonical_terms(self.n_values, self._parents)

    def terms(self, per_layer: NDArray[np.float64]) -> list[Term]:
        """The parts of ``sum_over_layers``: what each slot adds for every combination of its choices."""
        padded = np.append(np.asarray(per_layer, dtype=np.float64), 0.0)  # index -1 is no layer
        return [
            Term(columns=table.columns, values=padded[ids].reshape(table.shape))
            for table, ids in zip(self._tables, self._layer_ids, strict=True)
        ]

    def only(self, arch: Arch) -> SearchSpace:
        """The space that holds this one arch, its largest: what its network trained alone is a supernet of.

        Raises:
            ValueError: no arch of this space.
        """
        whole = self.to_arch(self.to_row(arch))
        choices = [Choice(one.name, (whole[one.name],), role=one.role) for one in self.choices]
        return SearchSpace(self.name, choices, self._build, slots=self.slots, input_shape=self._input_shape)

    def input_shape(self, arch: Arch) -> Shape:
        """(C, H, W) of one input of this arch, without the batch."""
        return self._input_shape(arch) if callable(self._input_shape) else self._input_shape

    # -- populations ------------------------------------------------------------------------------

    def active(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether each choice matters, (n, n choices): one whose parent is off or elsewhere does not."""
        return active(rows, self._parents)

    def canonical(self, rows: Rows) -> Rows:
        """The same archs with inactive choices at their default (index 0). Idempotent."""
        return np.where(self.active(rows), rows, 0)

    def valid(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether each row has every index in range, (n,)."""
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
        steps = []
        for index in np.flatnonzero(self.active(row[None])[0]):
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
        return count_archs(self.n_values, self._parents)

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
        return [slot_table(slot, self.choices) for slot in self.slots]

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Every distinct layer of the space once, in order of first appearance: what a table measures."""
        return tuple({layer.key: layer for layer in self.slot_layers()}.values())

    @cached_property
    def layer_macs(self) -> NDArray[np.float64]:
        """Multiply-accumulates of each of ``layers``, (n layers,).

        Raises:
            ValueError: a layer that does not run on its input.
        """
        from search_spaces.reference.macs import macs_of_layers

        return np.array(macs_of_layers(self.layers), dtype=np.float64)

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
        """The one of ``layers`` that stands in each slot, by index, (n, n slots); -1 where nothing does."""
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
