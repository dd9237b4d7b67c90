"""Retraining: the same network from scratch, which its inherited weights have to be better than."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from compress.candidate import Candidate, Context
from compress.steps.registry import STEPS


@STEPS.register("retrain")
@dataclass(frozen=True, slots=True, kw_only=True)
class Retrain:
    """Training of the network from scratch, before any step that cuts it; kept if it gets more accurate.

    Attributes:
        epochs: Epochs to train; those of the supernet where none are given.
        taught: Whether the teachers of the recovery training teach it; otherwise it learns from labels alone.
    """

    for_speed: ClassVar[bool] = False
    epochs: Annotated[int, Field(ge=1)] | None = None
    taught: bool = False

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        """One candidate: the same network with other weights.

        Raises:
            ValueError: the network was cut, or there is no way to train it from scratch.
        """
        if context.retrain is None:
            raise ValueError("there is no way to train this network from scratch")
        if current.cuts or current.swaps:
            raise ValueError(
                "retraining makes the network that compression began with, and that was cut or had operators "
                "exchanged; put retrain before prune and exchange"
            )
        network = context.retrain(seed=context.seed, epochs=self.epochs, taught=self.taught)
        return [context.exported(current, network, context.file(folder, "retrained"))]
