"""Quantization after training: int8 weights and activations, ranges from calibration images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from compress.candidate import Candidate, Context
from compress.onnx.static import OPERATORS, OperatorSet, RangeMethod, operators_of, quantize_static
from compress.steps.registry import STEPS
from compress.steps.several import each


@STEPS.register("quantize", needs={"onnx", "int8"})
@dataclass(frozen=True, slots=True, kw_only=True)
class Quantize:
    """Static int8 on calibration images; kept if the file is faster and accurate enough.

    Which operators are worth quantizing depends on the graph (conversions around those that stay float
    can cost more than int8 saves), so several sets are tried and measured.

    Attributes:
        operators: Sets of operators to try.
        ranges: Way in which activation ranges follow from the calibration: the extremes, the 99.999th
            percentile, or least entropy.
        per_channel: Whether each output channel of a weight has its scale; otherwise the whole has one.
        reduce_range: Whether weights have 7 bits, for x86 CPUs without VNNI.
    """

    for_speed: ClassVar[bool] = True
    operators: tuple[OperatorSet, ...] = tuple(OPERATORS)
    ranges: RangeMethod = "minmax"
    per_channel: bool = True
    reduce_range: bool = False

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        """A candidate for each set of operators: the same network, another file.

        Raises:
            ValueError: the file is quantized already, or cannot be for any set.
        """
        refuse_int8(current)

        def of(label: OperatorSet) -> Candidate:
            file = int8_file(folder, label)
            quantize_static(
                current.file,
                context.calibration,
                file,
                operators=operators_of(label),
                ranges=self.ranges,
                per_channel=self.per_channel,
                reduce_range=self.reduce_range,
            )
            return replace(current, file=file, precision="int8", label=f"int8 for {label}")

        return each({label: partial(of, label) for label in self.operators})


def int8_file(folder: Path, label: str) -> Path:
    """Path of the int8 file for a set of operators: ONNX, as the step needs."""
    return folder / f"int8_{label.replace(' ', '_')}.onnx"


def refuse_int8(current: Candidate) -> None:
    """Raises a ValueError where there is no float file left to quantize."""
    if current.precision != "fp32":
        raise ValueError(f"the file is {current.precision} already")
