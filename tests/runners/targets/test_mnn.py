"""MNN as a device: its files compute what the network computes, and what it cannot convert is a sentence."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from compress.target import Target
from runners.targets.hardware import HardwareProfile
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from tests.runners.targets.runtimes import SHAPE, check_batch, check_outputs, check_timing, files_of, network


class Odd(nn.Module):
    """An operator that ONNX has and MNN has not."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.isnan(x).float()


@pytest.fixture(scope="module")
def target() -> Target:
    entries = {"name": "all", "runtime": "mnn", "precisions": ["fp32", "fp16", "int8"]}
    return open_target(HardwareProfile.model_validate(entries))


@pytest.fixture(scope="module")
def files(target: Target, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return files_of(target, tmp_path_factory.mktemp("mnn"))


@pytest.mark.parametrize(("precision", "difference"), [("fp32", 5e-5), ("fp16", 2e-3), ("int8", 0.05)])
def test_a_file_computes_what_the_network_does(
    target: Target, files: dict[str, Path], precision: str, difference: float
) -> None:
    check_outputs(target, files[precision], difference)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_file_that_computes_something_else_is_refused(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    plain = target.run
    monkeypatch.setattr(target, "run", lambda file, images: plain(file, images)[:, ::-1])
    with pytest.raises(ValueError, match="the file is not the network"):
        target.export(network(), SHAPE, tmp_path / "a.mnn", precision=precision)
    assert not list(tmp_path.iterdir())


def test_fewer_bits_are_a_smaller_file(target: Target, tmp_path: Path) -> None:
    sizes = []
    for precision in ("fp32", "fp16", "int8"):
        target.export(nn.Conv2d(3, 256, 3), SHAPE, tmp_path / "a.mnn", precision=precision)
        sizes.append((tmp_path / "a.mnn").stat().st_size)
    assert sizes[1] < 0.6 * sizes[0]
    assert sizes[2] < 0.4 * sizes[0]


def test_files_are_timed_side_by_side(target: Target, files: dict[str, Path], tmp_path: Path) -> None:
    check_timing(target, files["fp32"], tmp_path)
    check_batch("mnn", files["fp32"])
    found = {entry.operator: entry for entry in target.operator_times(files["fp32"])}
    assert found["Convolution"].nodes >= 2
    assert found["Convolution"].latency_ms > 0


def test_what_it_cannot_do_is_said_and_leaves_no_file(tmp_path: Path) -> None:
    target = open_target(load_profile("cpu-mnn"))
    with pytest.raises(ValueError, match="MNN does not convert it: These Op Not Support: ONNX::IsNaN"):
        target.export(Odd(), (4, 4), tmp_path / "a.mnn")
    assert not list(tmp_path.iterdir())
    entries = {"name": "a", "runtime": "mnn", "precisions": ["bf16"]}
    with pytest.raises(ValueError, match="has precision 'bf16', but runtime 'mnn' runs fp32 and fp16"):
        open_target(HardwareProfile.model_validate(entries))
