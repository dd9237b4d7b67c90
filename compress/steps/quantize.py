"""Quantization after training: int8 weights and activations, ranges from calibration images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import onnx
from pydantic import Field

from compress.candidate import Candidate, Context
from compress.onnx.agreement import refuse_constant
from compress.onnx.numbers.ranges import PERCENTILE, RangeMethod
from compress.onnx.numbers.rounding import Rounding
from compress.onnx.numbers.synthetic import images_from_statistics
from compress.onnx.static import OPERATORS, Int8, OperatorSet, operators_of, quantize_static
from compress.steps.registry import STEPS, refuse_int8
from compress.steps.several import each
from results.precision import int8_parts

_LOOKED_AT = 8  # images


@STEPS.register("quantize", needs={"onnx", "int8"})
@dataclass(frozen=True, slots=True, kw_only=True)
class Quantize:
    """Static int8 on calibration images; kept if the file is faster and accurate enough.

    Which operators are worth quantizing depends on the graph (conversions around those that stay float
    can cost more than int8 saves), so several sets are tried and measured. Where the search chose number
    formats (``space.precisions``) those parts of the network are quantized that it chose int8 for.

    Attributes:
        operators: Sets of operators to try.
        calibration: Images that activations are seen on: training images, or such as are made from the
            statistics of the network's BatchNorms, without data.
        ranges: Way in which activation ranges follow from the calibration: the extremes, a percentile, least
            squared error, or least divergence of the values' distribution.
        percentile: Percent of the values inside the range, at either end, for that way.
        symmetric: Whether activations are int8 around 0 instead of uint8 with a zero point.
        per_channel: Whether each output channel of a weight has its scale; otherwise the whole has one.
        reduce_range: Whether weights have 7 bits, for x86 CPUs without VNNI.
        weight_bits: Bits of a weight; fewer than 8 are stored and computed as 8.
        equalize: Whether the channels of neighbouring layers are scaled against each other first.
        rounding: Way in which weights are rounded: to the nearest step, or as each layer's outputs say
            (AdaRound).
        rounding_steps: Optimizer steps for each layer of adaptive rounding.
        correct_bias: Whether the mean that rounding moves each channel by is taken from its bias.
        float_layers: Names of layers, or of modules that hold them, that stay float.
    """

    for_speed: ClassVar[bool] = True
    operators: tuple[OperatorSet, ...] = tuple(OPERATORS)
    calibration: Literal["images", "statistics"] = "images"
    ranges: RangeMethod = "minmax"
    percentile: Annotated[float, Field(gt=50, le=100)] = PERCENTILE
    symmetric: bool = False
    per_channel: bool = True
    reduce_range: bool = False
    weight_bits: Annotated[int, Field(ge=2, le=8)] = 8
    equalize: bool = False
    rounding: Rounding = "nearest"
    rounding_steps: Annotated[int, Field(ge=1)] = 500
    correct_bias: bool = False
    float_layers: tuple[str, ...] = ()

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        """A candidate for each set of operators: the same network, another file.

        Raises:
            ValueError: the file is quantized already, or cannot be for any set; or the search chose float
                for every part of the network.
        """
        refuse_int8(current, context)
        parts = int8_parts(current.network)
        if parts == ():
            raise ValueError("the search chose float for every part of the network")
        where = f" in {', '.join(parts)}" if parts else ""
        images = context.calibration
        if self.calibration == "statistics":
            shape = tuple(context.example.shape[1:])
            images = images_from_statistics(current.network, shape, seed=context.seed)

        def of(label: OperatorSet) -> Candidate:
            file = int8_file(folder, label)
            quantize_static(
                current.file,
                images,
                file,
                Int8(
                    operators=operators_of(label),
                    ranges=self.ranges,
                    percentile=self.percentile,
                    symmetric=self.symmetric,
                    per_channel=self.per_channel,
                    reduce_range=self.reduce_range,
                    weight_bits=self.weight_bits,
                    equalize=self.equalize,
                    rounding=self.rounding,
                    rounding_steps=self.rounding_steps,
                    correct_bias=self.correct_bias,
                    float_layers=self.float_layers,
                    only=parts,
                    float_thin=context.target.facts.float_thin,
                    seed=context.seed,
                ),
            )
            refuse_float(file, where)
            refuse_dead(context, current.file, file)
            return replace(current, file=file, precision="int8", label=f"int8 for {label}{where}")

        return each({label: partial(of, label) for label in self.operators})


def int8_file(folder: Path, label: str) -> Path:
    """Path of the int8 file for a set of operators: ONNX, as the step needs."""
    return folder / f"int8_{label.replace(' ', '_')}.onnx"


def refuse_float(file: Path, where: str) -> None:
    """Raises a ValueError where a file that was quantized has nothing in int8."""
    if not any(node.op_type == "QuantizeLinear" for node in onnx.load(str(file)).graph.node):
        raise ValueError(f"nothing{where} becomes int8")


def refuse_dead(context: Context, source: Path, file: Path) -> None:
    """Raises a ValueError where an int8 file gives constant outputs on the target, and its source does not.

    It is found out here too, since not every caller asks for the accuracy: files may only be timed.
    """
    images = context.calibration[:_LOOKED_AT]
    refuse_constant(context.target.run(file, images), context.target.run(source, images))
