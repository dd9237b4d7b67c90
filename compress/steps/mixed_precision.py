"""Mixed precision: int8 for the layers that it pays for, chosen exactly from measured times and losses."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar

import onnx
from pydantic import Field

from compress.candidate import Candidate, Context
from compress.onnx.numbers.mixed import (
    Assignment,
    LayerChoice,
    Meeting,
    assign,
    choices,
    conversion_ms,
    losses,
    meetings_of,
    others_ms,
)
from compress.onnx.numbers.ranges import RangeMethod
from compress.onnx.static import Int8, OperatorSet, operators_of, quantize_static
from compress.steps.quantize import int8_file, refuse_dead
from compress.steps.registry import STEPS, refuse_int8
from compress.steps.several import each

_IMAGES = 32  # that losses are measured on
_LISTED = 4


@STEPS.register("mixed_precision", needs={"onnx", "int8"})
@dataclass(frozen=True, slots=True, kw_only=True)
class MixedPrecision:
    """Int8 where it pays, float elsewhere, layer by layer; kept if the file is faster and accurate enough.

    What each layer loses by int8 and how long it takes in either format is measured; then the fastest choice
    for each share of the loss is found exactly, and where there is a limit on the latency also the most
    accurate choice within it. It stands in the place of ``quantize``, or before it as a first chance.

    Attributes:
        operators: Set of operators that are int8 besides the layers.
        shares: Shares of the loss of all layers in int8 that a choice may lose, each of which is tried.
        ranges: Way in which activation ranges follow from the calibration.
        per_channel: Whether each output channel of a weight has its scale; otherwise the whole has one.
    """

    for_speed: ClassVar[bool] = True
    operators: OperatorSet = "products and sums"
    shares: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)] = (0.1, 0.4, 1.0)
    ranges: RangeMethod = "minmax"
    per_channel: bool = True

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        """A candidate for each different choice: the same network, another file.

        Raises:
            ValueError: the file is quantized already, the target is not this machine, no layer can be
                quantized, or none pays.
        """
        refuse_int8(current, context)
        if not context.target.facts.local or context.target.facts.computed:
            raise ValueError(
                "the times of single layers are measured on this machine, where the target is not"
            )
        layers, meetings = self._measured(current, context, folder)
        found = [
            assign(layers, meetings, most_loss=share * sum(one.loss for one in layers))
            for share in self.shares
        ]
        if context.limit_ms is not None:
            image, threads = context.calibration[: context.target.facts.batch], context.target.facts.threads
            others = others_ms(current.file, image, threads=threads)
            with contextlib.suppress(ValueError):  # the fastest is among the others
                found.append(assign(layers, meetings, latency_ms=context.limit_ms - others))
        wanted = {one.int8: one for one in found if one.int8}
        if not wanted:
            raise ValueError(f"int8 pays for none of the {len(layers)} layers, conversions counted in")

        def of(number: int, one: Assignment) -> Candidate:
            file = int8_file(folder, f"mixed {number}")
            how = replace(self._int8, float_layers=one.stays)
            quantize_static(current.file, context.calibration, file, how)
            refuse_dead(context, current.file, file)
            return replace(current, file=file, precision="int8", label=_label(one))

        return each({_label(one): partial(of, number, one) for number, one in enumerate(wanted.values())})

    @property
    def _int8(self) -> Int8:
        return Int8(operators=operators_of(self.operators), ranges=self.ranges, per_channel=self.per_channel)

    def _measured(
        self, current: Candidate, context: Context, folder: Path
    ) -> tuple[list[LayerChoice], list[Meeting]]:
        everything = int8_file(folder, "all")
        quantize_static(current.file, context.calibration, everything, self._int8)
        source, made = onnx.load(str(current.file)), onnx.load(str(everything))
        facts = context.target.facts
        image = context.calibration[: facts.batch]
        layers = choices(
            current.file,
            everything,
            losses(source, made, context.calibration[:_IMAGES]),
            image,
            threads=facts.threads,
        )
        if not layers:
            raise ValueError("no layer can be quantized")
        conversion = conversion_ms(folder, threads=facts.threads)
        kinds = {node.op_type for node in source.graph.node}
        int8 = set(operators_of(self.operators)) or kinds
        return layers, meetings_of(source, layers, int8, image, conversion)


def _label(one: Assignment) -> str:
    if not one.stays:
        return f"int8 for all {len(one.int8)} layers"
    more = f" and {len(one.stays) - _LISTED} more" if len(one.stays) > _LISTED else ""
    return f"int8 for {len(one.int8)} layers, float for {', '.join(one.stays[:_LISTED])}{more}"
