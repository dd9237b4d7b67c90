"""The steps of compression: fine-tune, prune, quantize."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path

from compress.candidate import Candidate, Context
from compress.onnx.aware import tensor_ranges, train_aware
from compress.onnx.export import export_onnx
from compress.onnx.static import CONVOLUTIONS, EVERY_OPERATOR, PRODUCTS, RangeMethod, quantize_static
from compress.pruning.prune import COUNTS, prune


@dataclass(frozen=True, slots=True, kw_only=True)
class Finetune:
    """Trains the network on; kept if that makes it more accurate."""

    name: str = "finetune"
    for_speed: bool = False

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        """One candidate: the same network, trained on."""
        network = context.finetune(copy.deepcopy(current.network), context.seed)
        file = folder / "model.onnx"
        export_onnx(network, context.example, file, like=_float_file(current))
        return [Candidate(network=network, file=file, cuts=current.cuts)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """Cuts channels, then fine-tunes.

    Attributes:
        keep: shares of the channels to keep; each is tried, at the price of one fine-tuning each.
        counts: allowed channel counts: multiples of this, or one of these.
        importance: name of a criterion.
        across_layers: whether layers may lose different shares.
    """

    keep: tuple[float, ...] = (0.5,)
    counts: int | tuple[int, ...] = COUNTS
    importance: str = "l2"
    across_layers: bool = False
    name: str = "prune"
    for_speed: bool = True

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        """A candidate for each share to keep."""
        proposals: list[Candidate] = []
        for share in self.keep:
            pruned = prune(
                current.network,
                context.example,
                keep=share,
                counts=self.counts,
                importance=self.importance,
                across_layers=self.across_layers,
                loss=context.loss,
                seed=context.seed,
            )
            cuts = (*current.cuts, *pruned.cuts)
            if not pruned.cuts or any(cuts == proposal.cuts for proposal in proposals):
                continue
            network = context.finetune(pruned.network, context.seed)
            file = folder / f"keep_{share:g}.onnx"
            export_onnx(network, context.example, file)
            proposals.append(
                Candidate(network=network, file=file, cuts=cuts, label=f"{share:.0%} of the channels")
            )
        if not proposals:
            raise ValueError(
                f"no group of channels has a smaller allowed count (allowed: {self._allowed()}) near "
                f"{' or '.join(f'{share:.0%}' for share in self.keep)} of what it has"
            )
        return proposals

    def _allowed(self) -> str:
        return f"multiples of {self.counts}" if isinstance(self.counts, int) else f"one of {self.counts}"


OPERATORS: dict[str, tuple[str, ...]] = {
    "every operator": EVERY_OPERATOR,
    "products and sums": (*PRODUCTS, "Add", "Relu"),
    "convolutions": CONVOLUTIONS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantize:
    """Static int8 on calibration images.

    Which operators are worth quantizing depends on the graph (conversions around those that stay float
    can cost more than int8 saves), so several sets are tried and measured.

    Attributes:
        operators: names in ``OPERATORS`` of the sets to try.
        ranges: how activation ranges follow from the calibration.
        reduce_range: 7-bit weights, for x86 CPUs without VNNI.
    """

    operators: tuple[str, ...] = tuple(OPERATORS)
    ranges: RangeMethod = "minmax"
    reduce_range: bool = False
    name: str = "quantize"
    for_speed: bool = True

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        """A candidate for each set of operators: the same network, another file."""
        _refuse_int8(current)
        proposals = []
        for label in self.operators:
            file = _int8_file(folder, label)
            quantize_static(
                current.file,
                context.calibration,
                file,
                operators=_operators(label),
                ranges=self.ranges,
                reduce_range=self.reduce_range,
            )
            proposals.append(replace(current, file=file, precision="int8", label=f"int8 for {label}"))
        return proposals


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeAware:
    """Fine-tunes with the rounding simulated, then int8 with the activation ranges that were learned.

    It belongs after ``Quantize``, as a second chance where that one lost too much accuracy; where it was
    kept there is nothing left to do and nothing is trained. ``Context.finetune`` must train in place.

    Attributes:
        operators: names in ``OPERATORS`` of the sets to try.
        reduce_range: 7-bit weights, for x86 CPUs without VNNI.
    """

    operators: tuple[str, ...] = tuple(OPERATORS)
    reduce_range: bool = False
    name: str = "quantize_aware"
    for_speed: bool = True

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        """A candidate for each set of operators, all of the same trained network."""
        _refuse_int8(current)
        aware = train_aware(current.network, lambda module: context.finetune(module, context.seed))
        exported = folder / "float.onnx"
        export_onnx(aware.network, context.example, exported, like=_float_file(current))
        learned = tensor_ranges(exported, aware.input_ranges)
        proposals = []
        for label in self.operators:
            file = _int8_file(folder, label)
            quantize_static(
                exported,
                context.calibration,
                file,
                operators=_operators(label),
                reduce_range=self.reduce_range,
                activation_ranges=learned,
            )
            proposals.append(
                Candidate(
                    network=aware.network,
                    file=file,
                    cuts=current.cuts,
                    precision="int8",
                    label=f"int8 for {label}",
                )
            )
        return proposals


def _operators(label: str) -> tuple[str, ...]:
    if label not in OPERATORS:
        raise ValueError(f"unknown set of operators {label!r}. Valid: {', '.join(OPERATORS)}.")
    return OPERATORS[label]


def _int8_file(folder: Path, label: str) -> Path:
    return folder / f"int8_{label.replace(' ', '_')}.onnx"


def _float_file(current: Candidate) -> Path | None:
    return current.file if current.precision == "float32" and current.file.exists() else None


def _refuse_int8(current: Candidate) -> None:
    if current.precision != "float32":
        raise ValueError(f"the file is {current.precision} already")
