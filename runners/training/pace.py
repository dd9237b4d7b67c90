"""How long an epoch will take, from a few real steps: what turns minutes into epochs."""

from __future__ import annotations

import contextlib
import copy
import time
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from compress.plain import faithful_copy
from nas.distillation import Teaching
from nas.rules.moment import Rule, Size
from nas.supernet.supernet import Supernet
from runners.training.batches import TrainingData, batches_per_epoch
from runners.training.loop import train
from runners.training.settings import TrainSettings
from runners.training.standalone import alone
from runners.training.trainable import OneNetwork, SharedWeights
from runners.training.watch import Watch

_WARM = 2  # steps that are not timed: allocators and kernels settle
_LEAST = 3


class _Enough(Exception):
    """The steps asked for are done."""


def seconds_per_epoch(
    model: Supernet | nn.Module,
    data: TrainingData,
    settings: TrainSettings,
    *,
    rule: Rule = alone,
    size: Size | None = None,
    teaching: Teaching | None = None,
    steps: int = 12,
    budget_s: float = 5.0,
) -> float:
    """Seconds of one epoch, data and optimizer included, scoring after it not: a few steps on a copy, timed.

    The model, its gradients and the random state of this process are left as they were. What runs here is
    what a training would run with as many threads. A rule that changes its ways later is timed as it begins.

    Args:
        model: supernet or network, on the device to train on.
        data: what it would be trained on.
        settings: how it would be trained; the number of epochs does not matter.
        rule: training rule; the default trains the one network on labels.
        size: size of archs, for rules that draw by it.
        teaching: what a network's teachers tell it; its projections are trained.
        steps: steps to time, after two that are not.
        budget_s: seconds after which fewer steps are enough, three at least.

    Raises:
        DivergedError: a loss or the gradient is not finite.
        ValueError: no step to time, or a network without parameters.
    """
    if steps < 1:
        raise ValueError(f"the number of steps to time must be at least 1, got {steps}")
    trainable = (
        SharedWeights(copy.deepcopy(model), size)
        if isinstance(model, Supernet)
        else OneNetwork(faithful_copy(model), teaching)
    )
    ends: list[float] = []

    def on_step(*_: int) -> None:
        if trainable.device.type == "cuda":
            torch.cuda.synchronize(trainable.device)
        ends.append(time.perf_counter())
        timed = len(ends) - _WARM
        if timed >= steps or (timed >= _LEAST and ends[-1] - ends[0] > budget_s):
            raise _Enough

    endless = replace(settings, epochs=max(settings.epochs, steps + _WARM + 1))
    with contextlib.suppress(_Enough):
        train(trainable, data, endless, rule=rule, seed=0, watch=Watch(step=on_step))
    each = np.sort(np.diff(ends[_WARM - 1 :]))
    quarter = (len(each) + 1) // 4  # the middle half: neither what another program held up, nor one odd draw
    middle = float(each[quarter : len(each) - quarter].mean())
    return middle * batches_per_epoch(len(data.images), settings.batch_size)
