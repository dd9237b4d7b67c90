"""Quantization-aware training: the rounding is simulated while the network is fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from compress.candidate import Candidate, Context
from compress.onnx.aware import tensor_ranges, train_aware
from compress.onnx.static import OPERATORS, Int8, OperatorSet, operators_of, quantize_static
from compress.steps.quantize import int8_file, refuse_int8
from compress.steps.registry import STEPS
from compress.steps.several import each


@STEPS.register("quantize_aware", needs={"onnx", "int8"})
@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeAware:
    """Fine-tuning with the rounding simulated, then int8 with the activation ranges that were learned.

    It belongs after ``quantize``, as a second chance where that one lost too much accuracy; where it was
    kept there is nothing left to do and nothing is trained. ``Context.finetune`` must train in place.

    Attributes:
        operators: Sets of operators to try.
        reduce_range: Whether weights have 7 bits, for x86 CPUs without VNNI.
        epochs: Epochs to train; those of the recovery training where none are given.
    """

    for_speed: ClassVar[bool] = True
    operators: tuple[OperatorSet, ...] = tuple(OPERATORS)
    reduce_range: bool = False
    epochs: Annotated[int, Field(ge=1)] | None = None

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        """A candidate for each set of operators, all of the same trained network.

        Raises:
            ValueError: the file is quantized already, the network has nothing to quantize, or every set
                fails.
        """
        refuse_int8(current)
        aware = train_aware(
            current.network,
            lambda module: context.finetune(module, seed=context.seed, epochs=self.epochs),
        )
        exported = context.file(folder, "float")
        context.export(aware.network, exported)
        learned = tensor_ranges(exported, aware.network, aware.input_ranges)

        def of(label: OperatorSet) -> Candidate:
            file = int8_file(folder, label)
            quantize_static(
                exported,
                context.calibration,
                file,
                Int8(operators=operators_of(label), reduce_range=self.reduce_range),
                known_ranges=learned,
            )
            return Candidate(
                network=aware.network,
                file=file,
                cuts=current.cuts,
                precision="int8",
                label=f"int8 for {label}",
            )

        return each({label: partial(of, label) for label in self.operators})
