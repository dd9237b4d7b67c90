"""Small networks for the tests of compression, with norms that are not at their defaults."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from search_spaces.spaces.presets import preset


def randomise_norms(network: nn.Module, seed: int = 0) -> nn.Module:
    """Gives every BatchNorm statistics and weights away from zero and one; defaults hide bugs."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5, generator=generator)
            for tensor in (module.bias.data, module.running_mean):
                tensor.uniform_(-0.5, 0.5, generator=generator)
    return network


def digits_network(**changes: object) -> nn.Module:
    """A network of the digits space with attention, pooling, depthwise and identity mixers in it."""
    space = preset("digits", classes=10, input_shape=(1, 8, 8))
    arch = dict(space.smallest())
    arch |= {"stage0.depth": 2, "stage1.depth": 2, "stage0.width": 32, "stage1.width": 64}
    arch |= {"stage0.block0.mixer": "pooling", "stage0.block1.mixer": "depthwise"}
    arch |= {"stage1.block0.mixer": "attention", "stage1.block1.mixer": "identity"}
    arch |= {"stage0.block0.kernel": 3, "stage0.block1.kernel": 5} | changes
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = space.build(arch)
    return randomise_norms(network).eval()


def images(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Random images (count, 1, 8, 8) float32."""
    return np.random.default_rng(seed).random((count, 1, 8, 8), dtype=np.float32)


EXAMPLE = torch.from_numpy(images(1))


class Concatenated(nn.Module):
    """Two branches joined by concatenation, one of them read again by a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.left = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.SiLU())
        self.right = nn.Conv2d(16, 24, 1)
        self.join = nn.Sequential(nn.Conv2d(40, 32, 1), nn.BatchNorm2d(32), nn.Sigmoid())
        self.head = nn.Linear(32 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat([x + self.left(x), self.right(x)], dim=1)
        return self.head(nn.functional.adaptive_avg_pool2d(self.join(x), 2).flatten(1))


class FixedReshape(nn.Module):
    """Whose forward holds a channel count: those channels cannot be cut."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(1, 32, 3, padding=1)
        self.free = nn.Conv2d(32, 16, 1)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.wide(x).reshape(x.shape[0], 2, 16, -1).sum(1, keepdim=True).expand(-1, 2, -1, -1)
        x = self.free(x.reshape(x.shape[0], 32, 8, 8)).relu()
        return self.head(x.mean((2, 3)))
