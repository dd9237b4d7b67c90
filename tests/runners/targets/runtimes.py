"""What every runtime in a process of its own is held to, on one small network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from compress.target import Target
from runners.targets.hardware import HardwareProfile
from runners.targets.target import open_target

SHAPE = (3, 8, 8)


def network(channels: int = 8) -> nn.Module:
    """Dense, depthwise and pointwise work, the same at every call."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
        nn.GELU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, 4),
    ).eval()


def files_of(target: Target, folder: Path) -> dict[str, Path]:
    """A file of the network in each precision of a target."""
    found = {}
    for precision in target.facts.precisions:
        found[precision] = folder / f"{precision}.{target.facts.format}"
        target.export(network(), SHAPE, found[precision], precision=precision)
    return found


def check_outputs(target: Target, file: Path, difference: float) -> None:
    """A file gives what the network does, whatever the number of images, within a share of the largest."""
    images = np.random.default_rng(0).standard_normal((259, *SHAPE), dtype=np.float32)  # more than one call
    with torch.no_grad():
        wanted = network()(torch.from_numpy(images)).numpy()
    got = target.run(file, images)
    assert got.dtype == np.float32
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() < difference * np.abs(wanted).max()


def check_timing(target: Target, small: Path, folder: Path) -> None:
    """Files are timed side by side; one that is none is not measured, and harms no other."""
    broken, large = (folder / f"{name}.{target.facts.format}" for name in ("broken", "large"))
    broken.write_bytes(b"this is no model of any runtime")
    target.export(network(256), SHAPE, large)
    short, none, long = target.measure([small, broken, large], budget_s=0.3)
    assert none.status in ("unsupported", "failed")
    assert none.reason
    assert 0 < short.median_ms < long.median_ms
    with pytest.raises(ValueError, match=f"does not run in {target.facts.runtime}"):
        target.run(broken, np.zeros((1, *SHAPE), np.float32))


def check_batch(runtime: str, file: Path) -> None:
    """A profile's batch is what a call has."""
    entries = {"name": "many", "runtime": runtime, "batch": 64}
    many = open_target(HardwareProfile.model_validate(entries))
    one = open_target(HardwareProfile.model_validate({**entries, "name": "one", "batch": 1}))
    ((slow,), (fast,)) = (target.measure([file], budget_s=0.2) for target in (many, one))
    assert slow.median_ms > 4 * fast.median_ms
