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
from search_spaces.conditions import active, indices, parents_of
from search_spaces.layer import Layer, Slot
from search_spaces.reference.extremes import Term, argmax, argmin, canonical_terms, sweep
from search_spaces.rules import AnyRule, moves
from search_spaces.rules.kept import Kept
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
        rules: combinations of values that the space does not have (``search_spaces.rules``).

    Raises:
        ValueError: repeated or unknown choice names, a parent that comes later or lacks the value, a
            reference that is no arch of the space, rules that leave nothing.
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
        rules: Iterable[AnyRule] = (),
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
        self._parents = parents_of(self.choices)
        for slot in self.slots:
            for needed in slot.choices:
                if needed not in self.column:
                    raise ValueError(f"slot {slot.name!r}: {unknown('choice', needed, self.names)}")
        self.rules = tuple(part for rule in rules for part in rule.over(self.choices))
        self.kept = Kept(self.rules, self.choices, self._parents)
        self._reference: Rows | None = None if reference is None else self.to_row(reference)

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
        row = indices(arch, self.choices, self._parents)
        if self.rules and not self.kept.allowed(np.array([row]))[0]:
            raise ValueError(f"the arch breaks a rule of the space: {self.kept.broken(np.array(row))}")
        return row

    @property
    def declares_reference(self) -> bool:
        """Whether ``largest`` stands for an arch that was declared."""
        return self._reference is not None

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
        plain = self.nearest(plain[None])[0] if self.rules else plain
        if self.slots and self.size > 1:
            exact = solve(self.n_values, self.terms(self.layer_macs), self.possible_terms)
        if exact is not None:
            found = plain if self._macs(plain) == self._macs(exact) else exact
        else:
            movable = np.flatnonzero(self.categorical & (self.n_values > 1))
            categories = {int(at): int(self.n_values[at]) for at in movable}
            found = sweep(plain, categories, self.canonical, lambda row: self._rank(row, sign))
        return np.asarray(self.canonical(found[None])[0])

    def _rank(self, row: Rows, sign: int) -> float:
        return sign * self._macs(row) if self.allowed(self.canonical(row[None]))[0] else -np.inf

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
    def possible_terms(self) -> list[Term]:
        """Combinations of values that archs have: canonical ones that keep the rules."""
        return [*canonical_terms(self.n_values, self._parents), *self.kept.terms]

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
        """Whether each row has every index in range and keeps the rules, (n,)."""
        good = self.in_range(rows)
        good[good] = self.allowed(np.asarray(rows)[good])
        return good

    def allowed(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether each row, its indices in range, keeps the rules, (n,)."""
        return self.kept.allowed(rows)

    def nearest(self, rows: Rows) -> Rows:
        """The same archs, canonical; those that break a rule become the nearest that keep all.

        That takes milliseconds for each of them, the exact search of ``Kept.nearest``.
        """
        rows = self.canonical(rows)
        for at in np.flatnonzero(~self.kept.allowed(rows)):
            found = self.kept.nearest(rows[at])
            assert found is not None  # rules that leave nothing are refused
            rows[at] = found
        return rows

    def in_range(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether each row has every index in range, (n,)."""
        rows = np.asarray(rows)
        if rows.ndim != 2 or rows.shape[1] != len(self.choices):
            raise ValueError(
                f"rows of {self.name!r} have {len(self.choices)} columns, got shape {rows.shape}"
            )
        return np.asarray(((rows >= 0) & (rows < self.n_values)).all(axis=1))

    def sample(self, n: int, rng: np.random.Generator) -> Rows:
        """n canonical archs, every choice uniform over its values, as far as the rules leave it free."""
        if self.rules:
            return self.canonical(self.kept.draw(n, rng))
        return self.canonical(rng.integers(0, self.n_values, size=(n, len(self.choices))))

    def mutate(self, rows: Rows, rng: np.random.Generator, *, rate: float) -> Rows:
        """Each active choice moves to another of its values with probability ``rate``, at least one per row.

        A row of a space in which no active choice has a second value comes back unchanged.
        """
        known = self.n_values, self.active, self.canonical
        made, bad = moves.retried(
            moves.mutated(rows, rng, rate, *known),
            lambda these: moves.mutated(rows[these], rng, rate, *known),
            self.kept.allowed,
        )
        for at in np.flatnonzero(bad):  # no step alone may be allowed: then it is a leap
            steps = self.neighbours(rows[at])
            made[at] = steps[rng.integers(len(steps))] if len(steps) else self.sample(1, rng)[0]
        return made

    def crossover(self, first: Rows, second: Rows, rng: np.random.Generator) -> Rows:
        """Uniform crossover: each choice from either parent; the first where each try breaks a rule."""

        def crossed(these: NDArray[np.bool_]) -> Rows:
            one, other = first[these], second[these]
            return self.canonical(np.where(rng.random(one.shape) < 0.5, one, other))

        everywhere = np.ones(len(first), dtype=bool)
        made, bad = moves.retried(crossed(everywhere), crossed, self.kept.allowed)
        made[bad] = self.canonical(first[bad])
        return made

    def neighbours(self, row: Rows) -> Rows:
        """Every canonical arch that differs from this one in one active choice, without repeats."""
        return moves.neighbours(row, self.n_values, self.active, self.canonical, self.allowed)

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
        return self.kept.size

    def enumerate(self, limit: int = 1_000_000) -> Rows:
        """Every canonical arch, (size, n choices).

        Raises:
            ValueError: the space holds more than ``limit``.
        """
        if self.size > limit:
            raise ValueError(f"space {self.name!r} holds {self.size:.3g} archs; enumerating stops at {limit}")
        return moves.enumerated(self.n_values, self.active, self.kept.settled)

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
        ruled = [self.size, *(rule.text for rule in self.rules)] if self.rules else []
        text = json.dumps([self.name, choices, [layer.key for layer in self.layers], *ruled])
        return hashlib.sha256(text.encode()).hexdigest()[:16]
