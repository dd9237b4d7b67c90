"""OpenVINO as a device: its files compute what the network computes, in float and in int8."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from compress.target import Target
from runners.targets.hardware import HardwareProfile
from runners.targets.profile import load_profile
from runners.targets.target import open_target

SHAPE = (3, 8, 8)


@pytest.fixture(scope="module")
def target() -> Target:
    return open_target(load_profile("cpu-openvino"))


def network(channels: int = 8) -> nn.Module:
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


@pytest.fixture(scope="module")
def files(target: Target, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of the network in each precision."""
    folder = tmp_path_factory.mktemp("openvino")
    found = {}
    for precision in target.facts.precisions:
        found[precision] = folder / f"{precision}.{target.facts.format}"
        target.export(network(), SHAPE, found[precision], precision=precision)
    return found


@pytest.mark.parametrize(("precision", "difference"), [("fp32", 1e-5), ("int8", 0.1)])
def test_a_file_computes_what_the_network_does_whatever_the_number_of_images(
    target: Target, files: dict[str, Path], precision: str, difference: float
) -> None:
    images = np.random.default_rng(0).standard_normal((259, *SHAPE), dtype=np.float32)  # more than one call
    with torch.no_grad():
        wanted = network()(torch.from_numpy(images)).numpy()
    got = target.run(files[precision], images)
    assert got.dtype == np.float32
    assert np.abs(got - wanted).max() < difference * np.abs(wanted).max()


def test_int8_runs_in_int8_and_float_does_not(target: Target, files: dict[str, Path]) -> None:
    kinds = {
        precision: [
            entry.operator for entry in target.operator_times(file) if "Convolution" in entry.operator
        ]
        for precision, file in files.items()
    }
    assert all("f32" in kind for kind in kinds["fp32"])
    assert any("8" in kind.split("_")[-1] for kind in kinds["int8"])


def test_files_are_timed_side_by_side_and_a_broken_one_is_unsupported(
    target: Target, files: dict[str, Path], tmp_path: Path
) -> None:
    broken, large = tmp_path / "broken.onnx", tmp_path / "large.onnx"
    broken.write_bytes(b"no model")
    target.export(network(256), SHAPE, large)
    small, none, long = target.measure([files["fp32"], broken, large], budget_s=0.3)
    assert none.status == "unsupported"
    assert none.reason
    assert 0 < small.median_ms < long.median_ms
    with pytest.raises(ValueError, match="does not run in openvino"):
        target.run(broken, np.zeros((1, *SHAPE), np.float32))


def test_threads_and_batch_are_the_profiles(files: dict[str, Path]) -> None:
    entries = {"name": "many", "runtime": "openvino", "batch": 64}
    many = open_target(HardwareProfile.model_validate(entries))
    one = open_target(HardwareProfile.model_validate({**entries, "name": "one", "batch": 1}))
    ((slow,), (fast,)) = (target.measure([files["fp32"]], budget_s=0.2) for target in (many, one))
    assert slow.median_ms > 4 * fast.median_ms


def test_a_runtime_that_is_missing_or_too_old_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runners.targets.onnx_runtime.version", lambda _: "2023.3.0")
    with pytest.raises(ValueError, match="2025.1 or later, and 2023.3.0 is here: pip install --upgrade"):
        open_target(load_profile("cpu-openvino"))
