"""BatchNorm statistics: reset, averaged over the same images, and of nobody else's making."""

from __future__ import annotations

import torch
from torch import nn

from nas.supernet.calibration import recalibrate


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.BatchNorm2d(3, momentum=0.3), nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5)
    )


def images(n: int = 20) -> torch.Tensor:
    return torch.randn(n, 3, 5, 5, generator=torch.Generator().manual_seed(2)) * 2 + 1


def test_statistics_are_the_plain_average_over_batches() -> None:
    calibrated = network()
    recalibrate(calibrated, images(), batch_size=10)
    buffers = dict(calibrated.named_buffers())
    batches = images().split(10)
    means = torch.stack([batch.mean(dim=(0, 2, 3)) for batch in batches]).mean(dim=0)
    variances = torch.stack([batch.var(dim=(0, 2, 3)) for batch in batches]).mean(dim=0)
    assert torch.allclose(buffers["0.running_mean"], means, atol=1e-5)
    assert torch.allclose(buffers["0.running_var"], variances, rtol=1e-4)


def test_what_was_there_before_leaves_no_trace() -> None:
    fresh, used = network(), network()
    for _ in range(3):
        used(images(8) * 9)
    recalibrate(used, images(8) * 5)
    recalibrate(used, images())
    recalibrate(fresh, images())
    for (name, ours), theirs in zip(used.named_buffers(), fresh.buffers(), strict=True):
        assert torch.equal(ours, theirs), name


def test_modes_momenta_and_weights_are_as_they_should_be() -> None:
    calibrated, plain = network(), network()
    recalibrate(calibrated, images())
    assert not any(module.training for module in calibrated.modules())
    assert [calibrated[0].momentum, calibrated[2].momentum] == [0.3, 0.1]
    assert all(map(torch.equal, calibrated.parameters(), plain.parameters()))


def test_a_network_without_norms_only_changes_its_mode() -> None:
    plain = nn.Sequential(nn.Linear(3, 2), nn.Dropout())
    assert not recalibrate(plain, torch.zeros(1)).training  # the images are not even looked at


def test_batches_are_equal_and_no_image_stands_alone() -> None:
    """One alone has no variance on a map of 1x1, and PyTorch refuses it."""
    pooled, same = (nn.Sequential(nn.AdaptiveAvgPool2d(1), network()) for _ in range(2))
    recalibrate(pooled, images(21), batch_size=10)
    recalibrate(same, images(21), batch_size=7)
    assert all(map(torch.equal, pooled.buffers(), same.buffers()))


def test_instance_norms_that_track_are_averaged_too() -> None:
    norm = nn.InstanceNorm2d(3, track_running_stats=True)
    recalibrate(nn.Sequential(norm, nn.InstanceNorm2d(3)), images(), batch_size=10)
    assert norm.running_mean is not None
    assert torch.allclose(norm.running_mean, images().mean(dim=(0, 2, 3)), atol=1e-5)
    assert norm.momentum == 0.1
