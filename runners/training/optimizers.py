"""The optimizer of a training."""

from __future__ import annotations

from typing import Any

import torch

from results.names import unknown
from runners.training.muon import Muon, last_matrix
from runners.training.settings import TrainSettings
from runners.training.trainable import Trainable


def optimizer_of(trainable: Trainable[Any], settings: TrainSettings) -> torch.optim.Optimizer:
    """The optimizer that the settings name, over all parameters.

    Args:
        trainable: whose parameters it changes.
        settings: name and weight decay.

    Raises:
        ValueError: there is none of that name.
    """
    groups = trainable.optimizer_groups(settings.weight_decay)
    match settings.optimizer:
        case "adamw":
            return torch.optim.AdamW(groups, fused=True)
        case "muon":
            return Muon(groups, classifier=last_matrix(list(trainable.parameters.values())))
        case other:
            raise ValueError(unknown("optimizer", other, ("adamw", "muon")))
