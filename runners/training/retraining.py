"""The same network trained from scratch: what its inherited weights have to be better than."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from compress.candidate import Candidate, Context
from compress.onnx.export import export_onnx


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrain:
    """A step of compression, before any that changes shapes: kept if it makes the network more accurate.

    Attributes:
        train: gives the network, trained from scratch with a seed.
    """

    train: Callable[[int], nn.Module]
    name: str = "retrain"
    for_speed: bool = False

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        """One candidate: the same network with other weights."""
        network = self.train(context.seed)
        file = folder / "model.onnx"
        export_onnx(network, context.example, file, like=current.file)
        return [Candidate(network=network, file=file)]
