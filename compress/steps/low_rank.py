"""Low rank: a layer becomes two narrow ones where the target runs these faster."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor, nn

from compress.candidate import Candidate, Context
from compress.names import within
from compress.plain import plain_copy
from compress.pruning.allocation.layers import inputs_of
from compress.steps.registry import STEPS
from compress.steps.several import each
from compress.swaps import Swap, swapped
from compress.swaps.factors import TWO_LAYERS, factorable, factored, singular_values
from compress.swaps.ranks import Ordered, with_ordered_ranks
from compress.target import Target

Energy = Annotated[float, Field(gt=0, lt=1)]
_SECONDS_EACH = 0.1  # to time a layer for
_FURTHER = 3  # further ranks that are timed beside the smallest that is good enough


@STEPS.register("low_rank")
@dataclass(frozen=True, slots=True, kw_only=True)
class LowRank:
    """Convolutions and linear layers as two narrow ones, then fine-tuning; kept if that pays.

    The rank of a layer holds ``energy`` of its weight's squared singular values; of larger ranks that are as
    fast the largest is taken, as measured on the target; a layer that is not faster that way stays whole.

    Attributes:
        energy: Share of each weight's energy to keep, in (0, 1), or several, each of which is tried at the
            price of a fine-tuning.
        multiple: Number whose multiples the ranks are.
        trained: Whether ranks are trained in order of their importance first, as Maestro does, in the place
            of the singular value decomposition of the weights as they are; costs a training more.
        lasso: Factor of Maestro's group lasso.
        epochs: Epochs of each training; those of the recovery training where none are given.
        ignore: Names of layers, or of modules that hold them, that stay whole.
    """

    for_speed: ClassVar[bool] = True
    energy: Energy | Annotated[tuple[Energy, ...], Field(min_length=1)] = (0.9, 0.75)
    multiple: Annotated[int, Field(ge=1)] = 8
    trained: bool = False
    lasso: Annotated[float, Field(ge=0)] = 1e-4
    epochs: Annotated[int, Field(ge=1)] | None = None
    ignore: tuple[str, ...] = ()

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        """A candidate for each energy.

        Raises:
            ValueError: no layer can be written as two, or none is faster that way; or ranks are to be trained
                and the training is not in place.
        """
        network = plain_copy(current.network).eval()
        layers = self._layers(network, context.example)
        if not layers:
            raise ValueError("no convolution or linear layer can be written as two")
        ordered = self._ordered(network, list(layers), context) if self.trained else None
        energies = {
            name: ordered.layers[name].energies()
            if ordered
            else singular_values(network.get_submodule(name)).square()
            for name in layers
        }
        times = _Times(context.target)
        shares = self.energy if isinstance(self.energy, tuple) else (self.energy,)
        made: list[tuple[Swap, ...]] = []

        def of(share: float) -> Candidate | None:
            factors = tuple(
                Swap(module=name, kind=TWO_LAYERS, settings={"rank": rank})
                for name, shape in layers.items()
                if (rank := self._rank(network.get_submodule(name), shape, energies[name], share, times))
            )
            if not factors or factors in made:
                return None
            made.append(factors)
            thin = swapped(ordered.plain() if ordered else network, factors)
            if ordered:
                for factor in factors:
                    layer = ordered.layers[factor.module]
                    thin.set_submodule(factor.module, layer.cut(factor.settings["rank"]))
            thin = context.finetune(thin, seed=context.seed, epochs=self.epochs)
            file = context.file(folder, f"energy_{share:g}")
            label = f"{len(factors)} of {len(layers)} layers as two, {share:.0%} of their energy"
            return context.exported(current, thin, file, swaps=factors, label=label)

        candidates = each({f"{share:.0%} of the energy": partial(of, share) for share in shares})
        if not candidates:
            raise ValueError(
                f"none of {len(layers)} layers is faster as two of a rank that holds "
                f"{' or '.join(f'{share:.0%}' for share in shares)} of its weight's energy"
            )
        return candidates

    def _layers(self, network: nn.Module, example: Tensor) -> dict[str, tuple[int, ...]]:
        """The layers that can be written as two, by name, with the shape of what they read."""
        names: dict[nn.Module, str] = {}
        for name, module in network.named_modules(remove_duplicate=False):
            ignored = within(name, self.ignore)
            names[module] = "" if ignored or module in names else name  # what is shared stays whole
        return {
            name: given
            for module, given in inputs_of(network, example).items()
            if (name := names[module]) and factorable(module)
        }

    def _ordered(self, network: nn.Module, names: list[str], context: Context) -> Ordered:
        ordered = with_ordered_ranks(network, names, lasso=self.lasso)
        context.finetune_in_place(ordered.network, epochs=self.epochs, changed="ranks are trained in order")
        return ordered

    def _rank(
        self, layer: nn.Module, given: tuple[int, ...], energies: Tensor, share: float, times: _Times
    ) -> int | None:
        """The rank that a layer gets; None where it is faster whole."""
        reached = energies.cumsum(0) / energies.sum().clamp_min(1e-30)
        least = int((reached < share).sum()) + 1
        least = -(-least // self.multiple) * self.multiple
        weight = layer.weight
        assert isinstance(weight, Tensor)
        outputs, inputs = weight.shape[0], weight[0].numel()
        most = min(min(outputs, inputs), outputs * inputs // (outputs + inputs))
        ranks = list(range(least, most + 1, self.multiple))[: 1 + _FURTHER]
        if not ranks:
            return None
        return fastest_largest(ranks, *times(layer, given, ranks))


def fastest_largest(ranks: Sequence[int], whole_ms: float, ranks_ms: Sequence[float]) -> int | None:
    """The largest rank that takes as long as the smallest, where that is faster than the whole; else None.

    Args:
        ranks: Ranks, ascending.
        whole_ms: Latency of the layer as it is.
        ranks_ms: Latency at each rank.
    """
    if ranks_ms[0] >= 0.95 * whole_ms:
        return None
    return max(rank for rank, time in zip(ranks, ranks_ms, strict=True) if time <= 1.02 * ranks_ms[0])


class _Times:
    """Latency of layers, whole and as two, each form measured once."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._known: dict[tuple[object, ...], float] = {}

    def __call__(
        self, layer: nn.Module, given: tuple[int, ...], ranks: Sequence[int]
    ) -> tuple[float, list[float]]:
        """Latency in milliseconds of a layer as it is, and at each rank."""
        forms = {self._key(layer, given, rank): rank for rank in (0, *ranks)}
        new = {key: rank for key, rank in forms.items() if key not in self._known}
        if new:
            with tempfile.TemporaryDirectory(prefix="quarry-") as folder:
                files = [Path(folder) / f"{rank}.{self._target.facts.format}" for rank in new.values()]
                for rank, file in zip(new.values(), files, strict=True):
                    self._target.export(factored(layer, rank) if rank else layer, given, file)
                timings = self._target.measure(files, budget_s=_SECONDS_EACH * len(files), half_width=0.03)
            for key, timing in zip(new, timings, strict=True):
                if timing.status != "measured":
                    raise ValueError(f"a layer as two does not run: {timing.reason}")
                self._known[key] = timing.median_ms
        whole, *others = (self._known[key] for key in forms)
        return whole, others

    def _key(self, layer: nn.Module, given: tuple[int, ...], rank: int) -> tuple[object, ...]:
        return (repr(layer), given, rank)
