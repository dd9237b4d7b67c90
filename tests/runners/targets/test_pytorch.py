"""PyTorch as a device, and what is said where ExecuTorch is not installed; where it is, it is run."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

from runners.targets.profile import HardwareProfile, load_profile
from runners.targets.target import open_device


def test_more_work_takes_longer_and_a_bad_program_harms_no_other() -> None:
    device = open_device(load_profile("cpu-torch"))
    models = [
        device.export(nn.Conv2d(8, 8, 3), (8, 8, 8)),
        b"not a program",
        device.export(nn.Conv2d(8, 512, 3), (8, 8, 8)),
    ]
    small, broken, large = device.measure(models, budget_s=0.3)
    assert broken.status == "unsupported"
    assert broken.reason
    assert 0 < small.median_ms < large.median_ms
    assert device.identity().runtime == "torch-cpu"


def test_all_cores_are_meant_by_no_threads() -> None:
    device = open_device(HardwareProfile(name="all", backend="torch", threads=0))
    assert device.identity().threads >= 1


def test_executorch_runs_what_the_module_computes_or_says_what_to_install(tmp_path: Path) -> None:
    profile = load_profile("cpu-executorch")
    if find_spec("executorch") is None:
        with pytest.raises(ValueError, match=r"pip install 'quarry-nas\[executorch\]'"):
            open_device(profile)
        return
    device = open_device(profile)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))
    program = device.export(network.eval(), (3, 8, 8))
    good, broken = device.measure([program, b"not a program"], budget_s=0.3)
    assert good.median_ms > 0
    assert broken.status == "unsupported"
    file = tmp_path / "model.pte"
    file.write_bytes(program)
    runtime = import_module("executorch.runtime").Runtime.get()
    images = torch.randn(1, 3, 8, 8)
    (output,) = runtime.load_program(file).load_method("forward").execute([images])
    with torch.no_grad():
        torch.testing.assert_close(output, network(images), atol=1e-5, rtol=1e-5)
