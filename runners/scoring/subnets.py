"""Scoring archs on a trained supernet: what the search asks of its workers."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.supernet.calibration import recalibrate
from nas.supernet.supernet import Supernet
from nas.supernet.weights import Entry
from runners.data.prepared import RunData
from runners.scoring.accuracy import accuracy
from search_spaces.space import Arch, SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class SubnetEvaluator:
    """Accuracy of subnets on fixed images; the score of an arch does not depend on what was scored before.

    Attributes:
        supernet: trained.
        calibration: (N, C, H, W), prepared training images for the BatchNorm statistics.
        images: (M, C, H, W), prepared validation images.
        labels: (M,), int64.
    """

    supernet: Supernet
    calibration: Tensor
    images: Tensor
    labels: Tensor

    def __call__(self, arch: Arch) -> dict[str, float]:
        network = recalibrate(self.supernet.subnet(arch), self.calibration)
        return {"accuracy": accuracy(network, self.images, self.labels)}

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Everything large, as arrays that workers on one machine map without a copy."""
        flat = {f"flat/{group}": tensor.cpu().numpy() for group, tensor in self.supernet.flat.items()}
        data = {"calibration": self.calibration, "images": self.images, "labels": self.labels}
        return flat | {name: tensor.cpu().numpy() for name, tensor in data.items()}

    def fingerprint(self) -> str:
        """What the scores follow from, as text: space, weights, calibration and validation images."""
        digest = hashlib.sha256(self.supernet.space.fingerprint.encode())
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
    )


def worker_evaluator(
    space: SearchSpace, index: dict[str, Entry], arrays: dict[str, NDArray[np.generic]]
) -> SubnetEvaluator:
    """The same evaluator in a worker, over arrays that are shared and only read."""
    torch.set_num_threads(1)  # the workers share the cores among themselves
    tensors = {name: readonly(array) for name, array in arrays.items()}
    flat = {
        name.removeprefix("flat/"): tensors.pop(name) for name in list(tensors) if name.startswith("flat/")
    }
    return SubnetEvaluator(supernet=Supernet.reading(space, index, flat), **tensors)


def readonly(array: NDArray[np.generic]) -> Tensor:
    """A tensor over an array's memory. PyTorch cannot mark it read-only, and warns; nothing writes to it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)
