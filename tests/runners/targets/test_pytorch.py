"""PyTorch as a device."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from compress.onnx.fuse import fuse
from runners.targets.hardware import HardwareProfile
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from runners.targets.torch_runs import load_program

NETWORK = nn.Sequential(
    nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4)
).eval()


class OneImage(nn.Module):
    """Takes one image in a call, however many are given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(2, 3, 64).mean(dim=2)


def test_more_work_takes_longer_and_a_bad_program_harms_no_other(tmp_path: Path) -> None:
    target = open_target(load_profile("cpu-torch"))
    files = [tmp_path / f"{name}.pt2" for name in ("small", "broken", "large")]
    target.export(nn.Conv2d(8, 8, 3), (8, 8, 8), files[0])
    files[1].write_bytes(b"not a program")
    target.export(nn.Conv2d(8, 512, 3), (8, 8, 8), files[2])
    small, broken, large = target.measure(files, budget_s=0.3)
    assert broken.status == "unsupported"
    assert broken.reason
    assert 0 < small.median_ms < large.median_ms
    assert (target.facts.runtime, target.facts.format, target.facts.local) == ("torch-cpu", "pt2", True)


def test_a_program_computes_what_the_network_does_for_any_number_of_images(tmp_path: Path) -> None:
    target, file = open_target(load_profile("cpu-torch")), tmp_path / "a.pt2"
    target.export(NETWORK, (3, 8, 8), file)
    images = torch.randn(300, 3, 8, 8)
    with torch.no_grad():
        wanted = NETWORK(images).numpy()
    for n in (1, 2, 300):
        np.testing.assert_allclose(target.run(file, images[:n].numpy()), wanted[:n], atol=1e-5)
    file.write_bytes(b"broken")
    with pytest.raises(ValueError, match="no torch.export program"):
        target.run(file, images.numpy())


def test_a_network_that_takes_one_number_of_images_is_run_in_such_calls(tmp_path: Path) -> None:
    target, file = open_target(load_profile("cpu-torch").model_copy(update={"batch": 2})), tmp_path / "a.pt2"
    target.export(OneImage(), (3, 8, 8), file)
    images = torch.randn(5, 3, 8, 8)
    np.testing.assert_allclose(
        target.run(file, images.numpy()), images.flatten(2).mean(dim=2).numpy(), atol=1e-6
    )


class Looping(nn.Module):
    """Goes through its images one by one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x[i].mean() for i in range(x.shape[0])])


def test_a_program_that_is_not_the_network_is_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(network: nn.Module) -> nn.Module:
        fused = fuse(network)
        with torch.no_grad():
            next(fused.parameters()).mul_(1.01)
        return fused

    target, file = open_target(load_profile("cpu-torch")), tmp_path / "m.pt2"
    monkeypatch.setattr("runners.targets.pytorch.fuse", wrong)
    with pytest.raises(ValueError, match="cannot be exported: the file is not the network: an output"):
        target.export(NETWORK, (3, 8, 8), file)
    assert not file.exists()
    monkeypatch.undo()
    target.export(nn.Sequential(nn.Flatten(), Log()), (3, 8, 8), file)  # not finite on normal numbers


class Log(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.log()


def test_the_profiles_batch_is_what_is_timed(tmp_path: Path) -> None:
    target, file = open_target(load_profile("cpu-torch")), tmp_path / "looping.pt2"
    target.export(Looping(), (3, 8, 8), file)
    assert load_program(str(file), "cpu").batch in (None, 1)
    with pytest.raises(ValueError, match="takes 2 images in a call, and profile 'cpu-torch'"):
        target.export(OneImage(), (3, 8, 8), file)


def test_time_is_told_by_operator(tmp_path: Path) -> None:
    target, file = open_target(load_profile("cpu-torch")), tmp_path / "a.pt2"
    target.export(NETWORK, (3, 8, 8), file)
    times = target.operator_times(file)
    assert any("conv" in entry.operator and entry.nodes == 1 for entry in times)
    assert list(times) == sorted(times, key=lambda entry: -entry.latency_ms)


def test_what_it_cannot_run_is_refused(tmp_path: Path) -> None:
    entries = {"name": "a", "runtime": "torch", "unsupported_operators": ["relu"]}
    with pytest.raises(ValueError, match="uses relu, which the profile cannot run"):
        open_target(HardwareProfile.model_validate(entries)).export(NETWORK, (3, 8, 8), tmp_path / "a.pt2")
    assert not list(tmp_path.iterdir())
    int8 = HardwareProfile.model_validate({"name": "a", "runtime": "torch", "precisions": ["int8"]})
    with pytest.raises(ValueError, match="runtime 'torch' runs fp32"):
        open_target(int8)


def test_all_cores_are_meant_by_no_threads() -> None:
    profile = HardwareProfile.model_validate({"name": "all", "runtime": "torch", "threads": 0})
    assert open_target(profile).facts.threads >= 1
