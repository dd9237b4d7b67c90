"""The layers of a user's own model, whose space only builds: found by running some of its networks.

A layer is a module without children that takes one tensor, or a function called between modules. Which of
them stand in an arch is looked up (``nas.costs.layers.lookup``); its network is not run again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from nas.costs.layers.lookup import Places
from nas.costs.layers.probes import Make, Probe, chain_probe
from nas.costs.layers.trace import Call, calls
from nas.supernet.building import without_initialisers
from search_spaces.space import Arch, Rows, SearchSpace

Floats = NDArray[np.float64]
_TRACED = 300  # archs to learn from, beside the ends of the space and their neighbours; some 10 ms each
_TRIED = 50  # more of them, to try what was learned on


class TracedSums:
    """What a latency model needs to know of a space that only builds.

    Args:
        space: space with ``build``.
        rows: archs to learn the layers from; predicting an arch with a layer that none of these has is an
            error that says so.
        held_back: archs that what was learned is tried on.
        progress: told networks run, networks in all.
    """

    exact = False

    def __init__(
        self,
        space: SearchSpace,
        rows: Rows,
        held_back: Rows | None = None,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> None:
        self._space = space
        self._progress, self._run = progress, 0
        self._ids: dict[str, int] = {}
        self._calls: list[Call] = []
        self._learning = True
        self._rows = space.canonical(rows)
        self._held_back = self._rows[:0] if held_back is None else space.canonical(held_back)
        self._places = self.places_of(self._trace)
        self._learning = False

    @classmethod
    def learn(
        cls,
        space: SearchSpace,
        seed: int = 0,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> TracedSums:
        """Learned from the ends of the space, every choice moved alone from either, and random archs."""
        neighbours = [space.neighbours(end) for end in space.ends]
        drawn = space.sample(_TRACED, np.random.default_rng(seed))
        tried = space.sample(_TRIED, np.random.default_rng([seed, 1]))
        return cls(space, np.unique(np.vstack([space.ends, *neighbours, drawn]), axis=0), tried, progress)

    @property
    def modules(self) -> list[tuple[Make, tuple[int, ...]]]:
        return [(call.make, call.input_shape) for call in self._calls]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self._ids)

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(call.kind for call in self._calls)

    @property
    def weight_bytes(self) -> Floats:
        return np.array([call.weight_bytes for call in self._calls])

    @property
    def activation_bytes(self) -> Floats:
        sizes = [np.prod(call.input_shape) + np.prod(call.output_shape) for call in self._calls]
        return 4.0 * np.array(sizes, dtype=np.float64)

    @property
    def probes(self) -> list[Probe]:
        """The distinct layers, ready to be measured: alone, and in a chain where they can stand in one."""
        alone = [
            Probe(kind="layer", key=call.key, input_shape=call.input_shape, make=call.make)
            for call in self._calls
        ]
        return alone + [
            chain_probe(call.key, call.input_shape, call.make)
            for call in self._calls
            if call.input_shape == call.output_shape
        ]

    def sum(self, rows: Rows, per_layer: Floats) -> Floats:
        """Sum of a per-layer quantity over the layers of each arch, (n,).

        Raises:
            ValueError: an arch has a layer that was never seen.
        """
        found = self._places.look_up(self._space.canonical(rows))
        padded = np.append(per_layer, 0.0)  # EMPTY, -1, reads the zero
        return np.asarray(padded[found].sum(axis=1))

    def params(self, rows: Rows) -> Floats:
        """Number of parameters of each arch, (n,); those that no traced layer holds are among them."""
        sizes = self._parameters.look_up(self._space.canonical(rows))
        return np.maximum(sizes, 0).sum(axis=1).astype(np.float64)

    @cached_property
    def _parameters(self) -> Places:
        """The size of every parameter that a network of the space may have."""
        return self.places_of(self._parameter_sizes)

    def _parameter_sizes(self, row: Rows) -> dict[str, int]:
        with without_initialisers(torch.device("cpu")):
            network = self._space.build(self._space.to_arch(row))
        return {name: parameter.numel() for name, parameter in network.named_parameters()}

    @property
    def lasting_kinds(self) -> tuple[str, ...]:
        """None: shapes change too often among single operators for one to last."""
        return ()

    def sum_after(self, rows: Rows, per_layer: Floats, kind: str) -> Floats:  # noqa: ARG002 - the protocol's
        """Nothing, as no kind lasts."""
        return np.zeros(len(rows))

    def borders(self, rows: Rows) -> Floats:
        """None: archs of a space that only builds have one number format."""
        return np.zeros((len(rows), 2))

    def places_of(self, trace: Callable[[Rows], dict[str, int]]) -> Places:
        """What a function finds in the networks of the space, learned from the same archs."""
        return Places(self._space.n_values, trace, self._rows, self._held_back)

    def _trace(self, row: Rows) -> dict[str, int]:
        """The layer in each place of an arch's network."""
        if self._learning:
            self._run += 1
            self._progress(self._run, len(self._rows) + len(self._held_back))
        arch = self._space.to_arch(row)
        try:
            found = self._calls_of(arch)
        except Exception as error:  # whatever a user's network raises
            said = str(error).strip() or "no message"
            raise ValueError(
                f"space {self._space.name!r}: the network of arch {arch} fails: "
                f"{type(error).__name__}: {said}"
            ) from error
        unknown = [call.key for call in found if call.key not in self._ids]
        if unknown:
            raise ValueError(
                f"layer {unknown[0]} of space {self._space.name!r} has never been seen; measure the space "
                "again with more networks to learn its layers from"
            )
        return {call.place: self._ids[call.key] for call in found}

    def _calls_of(self, arch: Arch) -> list[Call]:
        shape = self._space.input_shape(arch)
        try:  # shapes are all that is asked for, so nothing is allocated where the model allows it
            with without_initialisers(torch.device("meta")):
                found = calls(self._space.build(arch), shape, "meta")
        except Exception:  # of values that are not there, in whatever way a user's network asks for them
            found = calls(self._space.build(arch), shape, "cpu")
        if self._learning and any(call.key not in self._ids for call in found):
            for call in calls(self._space.build(arch), shape, "cpu"):
                if call.key not in self._ids:
                    self._ids[call.key] = len(self._ids)
                    self._calls.append(call)
        return found
