"""Fine-tuning: the same network, trained further."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from compress.candidate import Candidate, Context
from compress.plain import faithful_copy
from compress.steps.registry import STEPS


@STEPS.register("finetune")
@dataclass(frozen=True, slots=True, kw_only=True)
class Finetune:
    """Training of the network further; kept if that makes it more accurate.

    Attributes:
        epochs: Epochs to train; those of the recovery training where none are given.
    """

    for_speed: ClassVar[bool] = False
    epochs: Annotated[int, Field(ge=1)] | None = None

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        """One candidate: the same network, trained further."""
        network = context.finetune(faithful_copy(current.network), seed=context.seed, epochs=self.epochs)
        file = context.file(folder, "finetuned")
        context.export(network, file)
        return [Candidate(network=network, file=file, cuts=current.cuts)]
