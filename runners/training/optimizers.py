"""The optimizer of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from results.names import unknown
from runners.training.muon import Muon, last_matrix
from runners.training.settings import TrainSettings
from runners.training.trainable import Trainable


def optimizer_of(trainable: Trainable[Any], settings: TrainSettings) -> torch.optim.Optimizer:
    """The optimizer that the settings name, over all parameters.

    Args:
        trainable: whose parameters it changes.
        settings: name, weight decay, and the decay of learning rates from layer to layer.

    Raises:
        ValueError: there is none of that name.
    """
    groups = trainable.optimizer_groups(settings.weight_decay)
    if settings.layer_decay < 1:
        groups = by_layer(groups, trainable.parameters, settings.layer_decay)
    match settings.optimizer:
        case "adamw":
            return torch.optim.AdamW(groups, fused=True)
        case "muon":
            return Muon(groups, classifier=last_matrix(list(trainable.parameters.values())))
        case other:
            raise ValueError(unknown("optimizer", other, ("adamw", "muon")))


def by_layer(
    groups: Sequence[Mapping[str, Any]], parameters: Mapping[str, nn.Parameter], decay: float
) -> list[dict[str, Any]]:
    """Groups of parameters divided by layer, each with a ``scale`` on its learning rate.

    "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators" (Clark et al., ICLR 2020),
    appendix: layer-wise learning-rate decay. The last layer has scale 1, each before it ``decay`` times that
    of the next. A layer is a module with a matrix or kernel, in the order in which a network defines them,
    and what follows it without one, such as its norm.

    Args:
        groups: groups as for ``torch.optim``.
        parameters: all parameters by name; those of a teaching (``teaching/``) have scale 1.
        decay: factor, in (0, 1).
    """
    layer, owner, places = 0, "", dict[int, int]()
    for name, parameter in parameters.items():
        if name.startswith("teaching/"):
            continue
        if parameter.ndim > 1 and (module := name.rpartition(".")[0]) != owner:
            layer, owner = layer + 1, module
        places[id(parameter)] = layer
    found = []
    for group in groups:
        depths: dict[int, list[nn.Parameter]] = {}
        for parameter in group["params"]:
            depths.setdefault(layer - places.get(id(parameter), layer), []).append(parameter)
        found += [{**group, "params": ones, "scale": decay**depth} for depth, ones in depths.items()]
    return found
