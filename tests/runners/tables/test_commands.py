"""Commands: latency of any model, staircases, tables in and out."""

import sys
from functools import partial
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from nas.costs.layers.sums import layers_of
from nas.costs.model.fit import fit_table
from runners.tables.commands import check_table, export_table, import_table, latency, merge, staircase
from runners.tables.layers import MeasurePlan, measure_on
from runners.targets.onnx_format import onnx_bytes
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from search_spaces.choice import Choice
from search_spaces.space import SearchSpace


class Product(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x @ y


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8 * 49, 10))


def test_latency_of_a_file_and_of_a_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_bytes(network(), (3, 16, 16)))
    lines: list[str] = []
    report = latency(str(path), seconds=0.2, say=lines.append)
    assert report.timing.median_ms > 0
    assert any("Conv" in entry.operator for entry in report.operators)
    assert "ms on cpu-ort" in lines[0]
    assert "MB of memory in a process of its own" in lines[1]
    assert report.memory is not None
    assert 0 < report.memory.own_bytes < report.memory.process_bytes < 200e6
    assert any("mean nothing here" in line for line in lines)
    made = "nn.Linear(4, 4).bfloat16()"  # files are made of it in float32
    (tmp_path / "mine.py").write_text(f"from torch import nn\ndef make():\n    return {made}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    report = latency("mine:make", input_shape="4", seconds=0.1, say=lines.append)
    assert report.timing.repeats >= 4
    assert report.predicted_bytes == 4 * (4 * 4 + 4) + 4 * (4 + 4), "weights; input and output at once"
    assert "mine" in sys.modules


def test_an_onnx_file_is_converted_for_a_runtime_with_files_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(onnx_bytes(network(), (3, 16, 16)))
    report = latency(str(tmp_path / "model.onnx"), profile="cpu-mnn", seconds=0.1, say=lambda _: None)
    assert any("Conv" in entry.operator for entry in report.operators)


def test_weights_that_lie_in_another_file_are_found_or_named(tmp_path: Path) -> None:
    model = onnx.load_from_string(onnx_bytes(network(), (3, 16, 16)))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    assert latency(str(tmp_path / "m.onnx"), seconds=0.1, say=lambda _: None).timing.median_ms > 0
    (tmp_path / "m.data").unlink()
    with pytest.raises(FileNotFoundError, match="m.onnx keeps weights in m.data, which is not beside it"):
        latency(str(tmp_path / "m.onnx"), seconds=0.1, say=lambda _: None)


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        ("none.onnx", "", "there is no model at none.onnx"),
        ("nothing", "", "neither a path that ends in .onnx nor module:function"),
        ("torch.nn:ReLU", "", "--input"),
        ("torch.nn:ReLU", "3y3", "written like 3x224x224"),
        ("torch.nn:Rellu", "3x3", "torch.nn has no 'Rellu'"),
        ("torch:get_num_threads", "3x3", "it has to give an nn.Module"),
        ("torch.nn:Linear", "4", "torch.nn:Linear fails: TypeError"),
        ("torch.nn:ReLU", "0x3", "written like 3x224x224"),
    ],
)
def test_a_model_that_cannot_be_measured_says_why(spec: str, shape: str, message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=r".+") as caught:
        latency(spec, input_shape=shape)
    assert message in str(caught.value)


@pytest.mark.parametrize("seconds", [-1.0, 0.0, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(tmp_path: Path, seconds: float) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_bytes(network(), (3, 16, 16)))
    with pytest.raises(ValueError, match="seconds to measure for are a number over 0, not"):
        latency(str(path), seconds=seconds)


def test_odd_files_are_measured_or_said_to_be_what_they_are(tmp_path: Path) -> None:
    image, tokens, several = (tmp_path / f"{name}.onnx" for name in ("open", "tokens", "two"))
    export = partial(torch.onnx.export, dynamo=False)
    axes = {"images": {0: "n", 2: "height", 3: "width"}}
    export(nn.Conv2d(3, 4, 3), (torch.zeros(1, 3, 8, 8),), image, input_names=["images"], dynamic_axes=axes)
    export(nn.Embedding(10, 4), (torch.zeros(1, 5, dtype=torch.long),), tokens)
    export(Product(), (torch.zeros(1, 4), torch.zeros(4, 4)), several)
    told: list[str] = []
    run = partial(latency, seconds=0.1, say=told.append)
    with pytest.raises(ValueError, match="leaves the sizes height, width of input 'images' open; give all 3"):
        run(str(image))
    small = run(str(image), input_shape="3x8x8").timing.median_ms
    assert run(str(image), input_shape="3x64x64").timing.median_ms > small
    assert run(str(tokens)).timing.median_ms > 0
    assert run(str(several)).operators
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ValueError, match=r"does not run on profile 'cpu-ort': Protobuf parsing failed"):
        run(str(tmp_path / "text.onnx"))
    with pytest.raises(ValueError, match="times torch programs, not ONNX files"):
        run(str(several), profile="cpu-torch")
    run(str(image), input_shape="3x8x8", profile="mcu")
    assert "nothing was measured" in told[-1]


def test_a_staircase_is_printed_with_its_steps() -> None:
    lines: list[str] = []
    found = staircase(channels=(8, 16, 64), size=4, say=lines.append)
    assert found.channels == (8, 16, 64)
    assert 64 in found.steps
    assert "widths on this device" in lines[-1]


def test_a_users_own_model_is_measured_and_its_table_travels(tmp_path: Path) -> None:
    def build(arch: object) -> nn.Module:
        assert isinstance(arch, dict)
        width = arch["width"]
        blocks = [nn.Conv2d(width, width, 3, padding=1) for _ in range(arch["depth"])]
        return nn.Sequential(nn.Conv2d(3, width, 3), *blocks)

    choices = [Choice("width", (4, 8, 16, 32)), Choice("depth", (1, 2, 3))]
    space = SearchSpace("own", choices, build=build, input_shape=(3, 8, 8))
    profile = load_profile("cpu-ort")
    target = open_target(profile)
    path = tmp_path / "table.parquet"
    plan = MeasurePlan(fit_networks=6, check_networks=4, seconds_each=0.02)
    told: list[int] = []
    run: list[tuple[int, int]] = []
    layers = layers_of(space, plan.seed, lambda done, total: run.append((done, total)))
    assert run[-1][0] == run[-1][1] == len(run)
    measured = measure_on(
        target,
        profile,
        space,
        path,
        plan=plan,
        layers=layers,
        progress=lambda done, _all, _left: told.append(done),
    )
    rows = space.enumerate()
    latencies, upper = measured.model.predict(rows)
    assert (upper > latencies).all()
    assert latencies[-1] > latencies[0]
    assert told[-1] > 0
    export_table(path, tmp_path / "table.csv", say=lambda _: None)
    import_table(tmp_path / "table.csv", tmp_path / "back.parquet", say=lambda _: None)
    seconds = (tmp_path / "table.csv").read_text().replace('unit: "ms"', 'unit: "s"')
    (tmp_path / "seconds.csv").write_text(seconds)
    with pytest.raises(ValueError, match="is in 's'; tables are in ms"):
        import_table(tmp_path / "seconds.csv", tmp_path / "refused.parquet")
    taken = import_table(tmp_path / "table.csv", tmp_path / "taken.parquet", space=space, say=lambda _: None)
    assert fit_table(taken, layers_of(space), 0.95).check.networks >= 3
    merged = merge([path, tmp_path / "back.parquet"], tmp_path / "merged.parquet", say=lambda _: None)
    assert len(merged.lines) == len(measured.table.lines)
    lines: list[str] = []
    drift = check_table(path, space, say=lines.append)
    assert drift.layers >= 5
    assert "measured again" in lines[-1]
