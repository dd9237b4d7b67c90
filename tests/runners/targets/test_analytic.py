"""A device of constants: its latency is the graph's arithmetic and traffic, and never called measured."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from compress.target import Target
from nas.costs.counts.analytic import count
from nas.costs.model.fit import MeasurePlan
from runners.reading.load import load_recipe
from runners.run.spaces import make_space, rules_out
from runners.tables.layers import measure_on
from runners.targets.hardware import HardwareProfile
from runners.targets.onnx_format import onnx_bytes
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from search_spaces.spaces.presets import preset


def device(**machine: float) -> HardwareProfile:
    runtime = {"kind": "analytic", "macs_per_s": 1e9, "bytes_per_s": 1e12, **machine}
    return HardwareProfile.model_validate(
        {"name": "board", "runtime": runtime, "precisions": ["int8", "fp32"]}
    )


def exported(board: Target, network: nn.Module, shape: tuple[int, ...], file: Path, precision: str) -> Path:
    board.export(network, shape, file, precision=precision)
    return file


def test_a_network_takes_the_time_of_its_multiply_accumulates(tmp_path: Path) -> None:
    space = preset("digits", classes=10, input_shape=(1, 8, 8))
    network = space.build(space.largest()).eval()
    board = open_target(device())
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    as_int8, as_float, broken = board.measure(
        [
            exported(board, network, (1, 8, 8), tmp_path / "int8.onnx", "int8"),
            exported(board, network, (1, 8, 8), tmp_path / "fp32.onnx", "fp32"),
            tmp_path / "broken.onnx",
        ],
        budget_s=0,
    )
    assert as_int8.median_ms == pytest.approx(1e3 * count(network, (1, 8, 8)).macs / 1e9, rel=0.02)
    assert as_float.median_ms == pytest.approx(4 * as_int8.median_ms, rel=0.02)
    assert broken.status == "unsupported"
    assert board.facts.computed
    times = board.operator_times(tmp_path / "fp32.onnx")
    assert sum(entry.latency_ms for entry in times) == pytest.approx(as_float.median_ms)
    images = np.random.default_rng(0).standard_normal((5, 1, 8, 8), dtype=np.float32)
    with torch.no_grad():
        wanted = network(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(board.run(tmp_path / "fp32.onnx", images), wanted, atol=1e-4)


def test_traffic_and_the_start_of_layers_count_where_they_rule(tmp_path: Path) -> None:
    layer, shape = nn.Conv2d(4, 4, 1, bias=False), (4, 10, 10)
    board = open_target(device(macs_per_s=1e15, bytes_per_s=1e6, layer_overhead_ms=2.0))
    (timing,) = board.measure([exported(board, layer, shape, tmp_path / "layer.onnx", "int8")], budget_s=0)
    assert timing.median_ms == pytest.approx(2.0 + (400 + 400 + 16) / 1e3, rel=0.01)


def test_a_quantized_file_counts_as_int8(tmp_path: Path) -> None:
    layer, shape = nn.Conv2d(16, 16, 3, padding=1), (16, 8, 8)
    board = open_target(device())
    (tmp_path / "quantized.onnx").write_bytes(onnx_bytes(layer, shape, precision="int8"))
    marked, quantized = board.measure(
        [exported(board, layer, shape, tmp_path / "marked.onnx", "int8"), tmp_path / "quantized.onnx"],
        budget_s=0,
    )
    assert quantized.median_ms == pytest.approx(marked.median_ms, rel=0.01)


def test_a_space_is_costed_from_constants_exactly(tmp_path: Path) -> None:
    space = preset("digits", classes=10, input_shape=(1, 8, 8), mixers=("identity",))
    profile = load_profile("mcu")
    board = open_target(profile)
    plan = MeasurePlan(fit_networks=6, check_networks=3)
    measured = measure_on(board, profile, space, tmp_path / "table.parquet", plan=plan, precision="int8")
    assert measured.check.mape < 0.01
    assert set(measured.table.lines.status) == {"measured"}


def test_a_mixer_that_the_profile_rules_out_is_out_of_the_space_from_the_start() -> None:
    recipe = load_recipe("digits")
    without = rules_out(recipe.space, load_profile("mcu"))
    assert without == ("attention",)
    space = make_space(recipe.space, classes=10, input_shape=(1, 8, 8), without=without)
    mixers = {layer.kind for layer in space.layers}
    assert "attention" not in mixers
    assert "depthwise" in mixers


def test_blocks_that_the_profile_rules_out_are_out_too() -> None:
    changes = ["measure.profile=mcu", "space.preset=fast-8", 'space.blocks=["residual", "cswin"]']
    recipe = load_recipe("digits", [*changes, "space.options.cswin.head_channels=8"])
    without = rules_out(recipe.space, load_profile("mcu"))
    assert without == ("cswin",)
    space = make_space(recipe.space, classes=10, input_shape=(1, 8, 8), without=without)
    assert {layer.kind for layer in space.layers} == {"entry", "residual", "head"}


def test_a_space_left_without_a_mixer_says_which_to_name() -> None:
    recipe = load_recipe("digits", ["measure.profile=mcu", 'space.mixers=["attention"]'])
    without = rules_out(recipe.space, load_profile("mcu"))
    with pytest.raises(ValueError, match=r"without attention no mixer is left .* name others"):
        preset("digits", classes=10, input_shape=(1, 8, 8), mixers=("attention",), without=without)
