"""Everything a training goes on from, in one safetensors file.

Data order and sampling are derived from (seed, step), so weights, averages, optimizer moments, the history of
passes and the step are all there is to keep: the continued run equals the uninterrupted one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nas.rules.moment import History
from results.files import replace_atomic
from runners.training.settings import TrainSettings
from runners.training.trainable import Trainable

_FORMAT = "quarry-training-3"


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a training is.

    Attributes:
        step: Steps done.
        loss_sum: Sum of the losses of the current epoch so far.
        seconds: Time spent in the current epoch so far.
    """

    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class TrainingState:
    """What changes while something is trained.

    Attributes:
        trainable: Holder of the weights.
        optimizer: Holder of the moments.
        average: Exponential moving average of the weights, by name; empty when none is kept.
        names: Names of the weights when the training began.
        course: Digest of what decides the training, as ``course_of`` gives it.
        progress: How far the training is.
        history: Record of the last passes, for rules that learn from it.
    """

    trainable: Trainable[Any]
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor]
    names: frozenset[str]
    course: str
    progress: Progress = field(default_factory=Progress)
    history: History = field(default_factory=History)


def course_of(trainable: Trainable[Any], settings: TrainSettings, seed: int) -> str:
    """What tells a training from others: its settings, its seed, the weights of a network it is given.

    How often a checkpoint is written decides nothing, and the number of processes only how sums are rounded.
    """
    what = f"{replace(settings, checkpoint_s=0.0)} {seed} {trainable.identity()}"
    if settings.layer_decay < 1:
        what += f" {settings.layer_decay}"
    return hashlib.sha256(what.encode()).hexdigest()[:16]


def save_checkpoint(path: Path, state: TrainingState) -> None:
    """Writes the state, atomically.

    A network that makes buffers while it runs (NNI's simulated rounding does) cannot be put back: nothing is
    written for it, and its training is repeated from the start.
    """
    trainable, weights = state.trainable, state.trainable.weights()
    if state.names != set(weights):
        return
    names = {id(parameter): name for name, parameter in trainable.parameters.items()}
    tensors = {f"flat/{name}": _stored(tensor) for name, tensor in weights.items()}
    tensors |= {f"average/{name}": _stored(tensor) for name, tensor in state.average.items()}
    for parameter, moments in state.optimizer.state.items():
        for key, value in moments.items():
            tensors[f"optimizer/{key}/{names[id(parameter)]}"] = _stored(torch.as_tensor(value))
    for part in fields(History):
        tensors[f"history/{part.name}"] = torch.from_numpy(getattr(state.history, part.name).copy())
    metadata = {
        "format": _FORMAT,
        "fingerprint": trainable.space.fingerprint,
        "course": state.course,
        "progress": json.dumps(asdict(state.progress)),
    }
    replace_atomic(path, lambda temporary: save_file(tensors, temporary, metadata))


def _stored(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous()


def load_checkpoint(path: Path, state: TrainingState) -> None:
    """Puts the state back as it was saved.

    Raises:
        ValueError: the file is truncated, of another kind, of another space, of a model with other
            parameters, or of a training with other settings, another seed or other weights at its start.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(
            f"the checkpoint {path} is damaged ({error}); delete it to start the training again"
        ) from error
    if metadata.get("format") != _FORMAT or metadata.get("fingerprint") != state.trainable.space.fingerprint:
        raise ValueError(
            f"the checkpoint {path} belongs to another search space or version; use another --out, "
            f"or delete it to start the training again"
        )
    if not _fits(tensors, state):
        raise ValueError(
            f"the checkpoint {path} is of other parameters than the networks have, or of another "
            f"average_decay: something was changed since. Use another --out, or delete it to start the "
            f"training again"
        )
    if metadata.get("course") != state.course:
        raise ValueError(
            f"the checkpoint {path} is of a training with other settings, another seed, or another network "
            f"of these shapes at its start. Use another --out, or delete it to start the training again"
        )
    _restore(state, tensors)
    parts = {part.name: tensors[f"history/{part.name}"].numpy() for part in fields(History)}
    state.history = History(**parts)
    state.progress = Progress(**json.loads(metadata["progress"]))


@torch.no_grad()
def _restore(state: TrainingState, tensors: Mapping[str, Tensor]) -> None:
    """Weights, averages and moments as they were saved."""
    for name, tensor in state.trainable.weights().items():
        tensor.copy_(tensors[f"flat/{name}"])
    for name, tensor in state.average.items():
        tensor.copy_(tensors[f"average/{name}"])
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            _, moment, name = key.split("/", 2)
            parameter = state.trainable.parameters[name]
            # Fused optimizers keep their step count on the parameter's device, and moments laid out as it is.
            own = torch.empty_like(parameter) if value.shape == parameter.shape else torch.empty_like(value)
            state.optimizer.state[parameter][moment] = own.to(parameter.device).copy_(value)


def _fits(tensors: Mapping[str, Tensor], state: TrainingState) -> bool:
    """Whether weights, average and moments have the shapes that the state has; a user's code may change."""
    wanted = {f"flat/{name}": tensor.shape for name, tensor in state.trainable.weights().items()}
    wanted |= {f"average/{name}": tensor.shape for name, tensor in state.average.items()}
    known = {name: parameter.shape for name, parameter in state.trainable.parameters.items()}
    wanted |= {
        key: known.get(key.split("/", 2)[2], torch.Size([-1]))
        for key in tensors
        if key.startswith(("optimizer/exp_avg", "optimizer/momentum"))
    }
    averages = {key for key in tensors if key.startswith("average/")}
    return averages == {f"average/{name}" for name in state.average} and all(
        key in tensors and tensors[key].shape == shape for key, shape in wanted.items()
    )
