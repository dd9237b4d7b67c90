"""Quantization-aware training: the rounding is simulated while the network is fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from compress.candidate import Candidate, Context
from compress.onnx.aware import AwareMethod, integers_in_file, tensor_ranges, train_aware
from compress.onnx.static import OPERATORS, Int8, OperatorSet, operators_of, quantize_static
from compress.steps.quantize import int8_file, refuse_dead
from compress.steps.registry import STEPS, refuse_int8
from compress.steps.several import each


@STEPS.register("quantize_aware", needs={"onnx", "int8"})
@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeAware:
    """Fine-tuning with the rounding simulated, then int8 with the activation ranges that were learned.

    It belongs after ``quantize``, as a second chance where that one lost too much accuracy; where it was
    kept there is nothing left to do and nothing is trained. ``Context.finetune`` must train in place.

    Attributes:
        operators: Sets of operators to try.
        method: Way of rounding: moving averages of extremes (``ranges``), learned steps (``lsq``), or bounded
            weights and inputs, for networks of ReLUs and norms (``dorefa``).
        weight_bits: Bits of a weight in training, but for the first and the last layer; in the file as 8.
        input_bits: Bits of what goes into a layer in training, likewise; in the file it has 8 in that range.
        gradient_bits: Bits of gradients, for ``dorefa``; float where none are given.
        reduce_range: Whether weights have 7 bits in the file, for x86 CPUs without VNNI.
        epochs: Epochs to train; those of the recovery training where none are given.
    """

    for_speed: ClassVar[bool] = True
    operators: tuple[OperatorSet, ...] = tuple(OPERATORS)
    method: AwareMethod = "ranges"
    weight_bits: Annotated[int, Field(ge=1, le=8)] = 8
    input_bits: Annotated[int, Field(ge=1, le=8)] = 8
    gradient_bits: Annotated[int, Field(ge=2, le=16)] | None = None
    reduce_range: bool = False
    epochs: Annotated[int, Field(ge=1)] | None = None

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        """A candidate for each set of operators, all of the same trained network.

        Raises:
            ValueError: the file is quantized already, the network has nothing to quantize, or every set
                fails.
        """
        refuse_int8(current, context)
        aware = train_aware(
            current.network,
            lambda module: context.finetune(module, seed=context.seed, epochs=self.epochs),
            method=self.method,
            weight_bits=self.weight_bits,
            input_bits=self.input_bits,
            gradient_bits=self.gradient_bits,
        )
        exported = context.file(folder, "float")
        context.export(aware.network, exported)
        learned = tensor_ranges(exported, aware.network, aware.input_ranges)
        integers = integers_in_file(exported, aware.network, aware.integers)

        def of(label: OperatorSet) -> Candidate:
            file = int8_file(folder, label)
            quantize_static(
                exported,
                context.calibration,
                file,
                Int8(
                    operators=operators_of(label),
                    reduce_range=self.reduce_range,
                    float_thin=context.target.facts.float_thin and not integers,
                ),
                known_ranges=learned,
                known_integers=integers,
            )
            refuse_dead(context, exported, file)
            return replace(
                current, network=aware.network, file=file, precision="int8", label=f"int8 for {label}"
            )

        return each({label: partial(of, label) for label in self.operators})
