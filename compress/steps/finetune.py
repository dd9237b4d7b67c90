"""Fine-tuning: the same network, trained further."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from compress.candidate import Candidate, Context
from compress.plain import faithful_copy
from compress.steps.registry import STEPS
from compress.tuning.frozen_norms import frozen_norms
from compress.tuning.mean_of_weights import mean_of_weights, share_by_entropy

Share = Annotated[float, Field(gt=0, lt=1)]


@STEPS.register("finetune")
@dataclass(frozen=True, slots=True, kw_only=True)
class Finetune:
    """Training of the network further; kept if that makes it more accurate.

    Attributes:
        epochs: Epochs to train; those of the recovery training where none are given.
        norms: Way of BatchNorms in this training: ``trained`` (by the statistics of each batch) or ``frozen``
            (by those that they have, folded into their convolutions on the way).
        means: Shares of the trained weights, in (0, 1), in means with the weights before; each is tried
            beside the trained network. ``entropy`` goes by how sure both are of calibration images.
    """

    for_speed: ClassVar[bool] = False
    epochs: Annotated[int, Field(ge=1)] | None = None
    norms: Literal["trained", "frozen"] = "trained"
    means: tuple[Share | Literal["entropy"], ...] = ()

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        """The same network, trained further, and means of it with what it was.

        Raises:
            ValueError: frozen norms are asked for, and the training is not in place.
        """
        trained = self._trained(current.network, context)
        found = []
        for at, share in enumerate((1.0, *self.means)):
            if share == "entropy":
                share = _by_entropy(current.network, trained, context)
            network = trained if share == 1.0 else mean_of_weights(current.network, trained, share)
            file = context.file(folder, f"finetuned_{at}")
            label = "" if share == 1.0 else f"{share:.0%} of the trained weights, the rest of those before"
            found.append(context.exported(current, network, file, label=label))
        return found

    def _trained(self, network: nn.Module, context: Context) -> nn.Module:
        begun = faithful_copy(network)
        if self.norms == "trained":
            return context.finetune(begun, seed=context.seed, epochs=self.epochs)
        with frozen_norms(begun):
            context.finetune_in_place(begun, epochs=self.epochs, changed="norms are frozen")
        return begun.eval()


def _by_entropy(before: nn.Module, after: nn.Module, context: Context) -> float:
    images = torch.from_numpy(context.calibration)
    with torch.no_grad():
        outputs = [network.eval()(images).float().numpy() for network in (before, after)]
    if outputs[0].ndim != 2:
        raise ValueError(f"a mean by entropy takes logits (N, classes), not outputs of {outputs[0].shape}")
    return share_by_entropy(outputs[0], outputs[1])
