"""Scoring archs on a trained supernet: what the search asks of its workers."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compress.onnx.numbers.rounded import rounded
from nas.supernet.calibration import recalibrate
from nas.supernet.supernet import Supernet
from nas.supernet.weights import Entry
from results.precision import int8_parts
from runners.data.prepared import RunData
from runners.scoring.score import score
from runners.tasks import CLASSIFICATION, Task
from search_spaces.space import Arch, SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class SubnetEvaluator:
    """Scores of subnets on fixed images; the score of an arch does not depend on what was scored before.

    Parts of a network that are to be int8 compute with numbers rounded as they will be in its file.

    Attributes:
        supernet: Supernet, trained.
        calibration: Prepared training images for the BatchNorm statistics, (N, C, H, W).
        images: Prepared validation images, (M, C, H, W).
        labels: Labels of these, (M,), int64.
        task: What subnets are judged by; its score stands under ``accuracy`` whatever its own name.
    """

    supernet: Supernet
    calibration: Tensor
    images: Tensor
    labels: Tensor
    task: Task = CLASSIFICATION

    def __call__(self, arch: Arch) -> dict[str, float]:
        network = recalibrate(self.supernet.subnet(arch), self.calibration)
        if parts := int8_parts(network):
            network = rounded(network, parts, self.calibration)
        return {"accuracy": score(network, self.images, self.labels, self.task)}

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Everything large, as arrays that workers on one machine map without a copy."""
        flat = {f"flat/{group}": tensor.cpu().numpy() for group, tensor in self.supernet.flat.items()}
        data = {"calibration": self.calibration, "images": self.images, "labels": self.labels}
        return flat | {name: tensor.cpu().numpy() for name, tensor in data.items()}

    def fingerprint(self) -> str:
        """What the scores follow from, as text: space, task, weights, calibration and validation images."""
        digest = hashlib.sha256(self.supernet.space.fingerprint.encode())
        if self.task != CLASSIFICATION:  # which nothing was said of before there were others
            digest.update(repr(self.task).encode())
        for name, array in sorted(self.arrays().items()):
            digest.update(f"{name} {array.shape} {array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]


def evaluator_of(supernet: Supernet, data: RunData) -> SubnetEvaluator:
    """Scores subnets on the validation images of a run."""
    return SubnetEvaluator(
        supernet=supernet,
        calibration=data.calibration.to(supernet.device),
        images=data.images(data.splits.val).to(supernet.device),
        labels=data.splits.val.labels.to(supernet.device),
        task=data.task,
    )


def worker_evaluator(
    space: SearchSpace,
    index: dict[str, Entry],
    arrays: dict[str, NDArray[np.generic]],
    task: Task = CLASSIFICATION,
) -> SubnetEvaluator:
    """The same evaluator in a worker, over arrays that are shared and only read."""
    torch.set_num_threads(1)  # the workers share the cores among themselves
    tensors = {name: readonly(array) for name, array in arrays.items()}
    flat = {
        name.removeprefix("flat/"): tensors.pop(name) for name in list(tensors) if name.startswith("flat/")
    }
    return SubnetEvaluator(supernet=Supernet.reading(space, index, flat), task=task, **tensors)


def readonly(array: NDArray[np.generic]) -> Tensor:
    """A tensor over an array's memory. PyTorch cannot mark it read-only, and warns; nothing writes to it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)
