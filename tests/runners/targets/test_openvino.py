"""OpenVINO as a device: its files compute what the network computes, in float, bfloat16 and int8."""

from pathlib import Path

import pytest

from compress.target import Target
from runners.targets.hardware import HardwareProfile
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from tests.runners.targets.runtimes import check_batch, check_outputs, check_timing, files_of


@pytest.fixture(scope="module")
def target() -> Target:
    entries = {"name": "all", "runtime": "openvino", "precisions": ["fp32", "bf16", "int8"]}
    return open_target(HardwareProfile.model_validate(entries))


@pytest.fixture(scope="module")
def files(target: Target, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return files_of(target, tmp_path_factory.mktemp("openvino"))


@pytest.mark.parametrize(("precision", "difference"), [("fp32", 1e-5), ("bf16", 0.02), ("int8", 0.1)])
def test_a_file_computes_what_the_network_does(
    target: Target, files: dict[str, Path], precision: str, difference: float
) -> None:
    check_outputs(target, files[precision], difference)


def test_int8_runs_in_int8_and_float_does_not(target: Target, files: dict[str, Path]) -> None:
    kinds = {
        precision: [
            entry.operator for entry in target.operator_times(file) if "Convolution" in entry.operator
        ]
        for precision, file in files.items()
    }
    assert all("f32" in kind for kind in kinds["fp32"])  # not bfloat16, which it would choose by itself
    assert any("8" in kind.split("_")[-1] for kind in kinds["int8"])


def test_float_files_are_in_the_first_precision_that_is_none_of_integers() -> None:
    for precisions, wanted in ((["bf16", "int8"], "bf16"), (["fp32"], "fp32"), (["int8"], "fp32")):
        entries = {"name": "a", "runtime": "openvino", "precisions": precisions}
        assert open_target(HardwareProfile.model_validate(entries)).facts.float_precision == wanted


def test_files_are_timed_side_by_side(target: Target, files: dict[str, Path], tmp_path: Path) -> None:
    check_timing(target, files["fp32"], tmp_path)
    check_batch("openvino", files["fp32"])


def test_a_runtime_that_is_too_old_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runners.targets.onnx_runtime.version", lambda _: "2023.3.0")
    with pytest.raises(ValueError, match="2025.1 or later, and 2023.3.0 is here: pip install --upgrade"):
        open_target(load_profile("cpu-openvino"))
