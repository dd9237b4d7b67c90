"""PyTorch as a device."""

from torch import nn

from runners.devices.device import open_device
from runners.devices.profile import load_profile


def test_more_work_takes_longer_and_a_broken_program_is_unsupported() -> None:
    device = open_device(load_profile("cpu-torch"))
    models = [
        device.export(nn.Conv2d(8, 8, 3), (8, 8, 8)),
        b"not a program",
        device.export(nn.Conv2d(8, 512, 3), (8, 8, 8)),
    ]
    small, broken, large = device.measure(models, budget_s=0.3)
    assert broken.status == "unsupported"
    assert 0 < small.median_ms < large.median_ms
    assert device.identity().runtime == "torch-cpu"
