"""ncnn as a device: its files compute what the network computes, and what it cannot convert is a sentence."""

from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from torch import Tensor, nn

from compress.target import Target
from runners.targets.hardware import HardwareProfile
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from tests.runners.targets.runtimes import check_batch, check_outputs, check_timing, files_of


class Odd(nn.Module):
    """An operator that ONNX has and ncnn has not."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.isnan(x).float()


@pytest.fixture(scope="module")
def target() -> Target:
    entries = {"name": "all", "runtime": "ncnn", "precisions": ["fp32", "bf16", "fp16"]}
    return open_target(HardwareProfile.model_validate(entries))


@pytest.fixture(scope="module")
def files(target: Target, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return files_of(target, tmp_path_factory.mktemp("ncnn"))


@pytest.mark.parametrize(("precision", "difference"), [("fp32", 5e-5), ("fp16", 5e-3), ("bf16", 0.05)])
def test_a_file_computes_what_the_network_does(
    target: Target, files: dict[str, Path], precision: str, difference: float
) -> None:
    check_outputs(target, files[precision], difference)


def test_a_file_is_what_ncnn_takes_and_says_how_it_is_run(files: dict[str, Path]) -> None:
    with ZipFile(files["bf16"]) as kept:
        assert kept.read("model.param").startswith(b"7767517")  # ncnn's magic number
        assert b'"precision": "bf16"' in kept.read("about.json")


def test_files_are_timed_side_by_side(target: Target, files: dict[str, Path], tmp_path: Path) -> None:
    check_timing(target, files["fp32"], tmp_path)
    check_batch("ncnn", files["fp32"])
    with pytest.raises(ValueError, match="does not tell"):
        target.operator_times(files["fp32"])


def test_what_it_cannot_do_is_said_and_leaves_no_file(tmp_path: Path) -> None:
    target = open_target(load_profile("cpu-ncnn"))
    with pytest.raises(ValueError, match="ncnn has no layer .*IsNaN|ncnn has no layer|pnnx"):
        target.export(Odd(), (3, 4, 4), tmp_path / "a.zip")
    assert not list(tmp_path.iterdir())
