"""The choice of formats is the best of all there are, and what it is made from is measured layer by layer."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from compress.candidate import Candidate
from compress.onnx.export import export_onnx
from compress.onnx.file import OnnxFile
from compress.onnx.numbers.mixed import (
    FLOAT,
    INT8,
    LayerChoice,
    Meeting,
    assign,
    conversion_ms,
    losses,
    meetings_of,
)
from compress.onnx.static import Int8, quantize_static
from compress.steps import MixedPrecision
from tests.compress.networks import images
from tests.compress.targets import FACTS, FakeTarget, context


def _problem(seed: int) -> tuple[list[LayerChoice], list[Meeting]]:
    random = np.random.default_rng(seed)
    layers = [
        LayerChoice(name=f"l{i}", loss=float(random.random()), float_ms=float(a), int8_ms=float(b))
        for i, (a, b) in enumerate(random.random((6, 2)))
    ]
    ends = [*range(6), INT8, FLOAT]
    meetings = [
        Meeting(
            maker=ends[random.integers(8)],
            reader=ends[random.integers(8)],
            to_int8_ms=float(random.random() / 5),
            to_float_ms=float(random.random() / 5),
        )
        for _ in range(9)
    ]
    return layers, meetings


def _cost(layers: list[LayerChoice], meetings: list[Meeting], int8: tuple[bool, ...]) -> tuple[float, float]:
    """Loss and time of a choice, one after the other."""
    loss = sum(one.loss for one, chosen in zip(layers, int8, strict=True) if chosen)
    time = sum(one.int8_ms if chosen else one.float_ms for one, chosen in zip(layers, int8, strict=True))
    for one in meetings:
        maker, reader = (int8[end] if end >= 0 else end == INT8 for end in (one.maker, one.reader))
        time += one.to_int8_ms * (reader and not maker) + one.to_float_ms * (maker and not reader)
    return loss, time


@pytest.mark.parametrize("scale", [1.0, 1e-8])
@pytest.mark.parametrize("seed", range(6))
def test_the_choice_is_the_best_of_all(seed, scale):
    """Also where losses are far below the tolerances of the solver, as those of good layers are."""
    layers, meetings = _problem(seed)
    layers = [replace(one, loss=scale * one.loss) for one in layers]
    every = [_cost(layers, meetings, int8) for int8 in itertools.product((False, True), repeat=6)]
    for share in (0.0, 0.3, 1.0):
        most = share * sum(one.loss for one in layers)
        found = assign(layers, meetings, most_loss=most)
        assert found.latency_ms == pytest.approx(
            min(time for loss, time in every if loss <= most + 1e-9 * scale)
        )
        mine = tuple(one.name in found.int8 for one in layers)
        assert _cost(layers, meetings, mine) == pytest.approx((found.loss, found.latency_ms), rel=1e-9, abs=0)
        assert found.loss <= most * (1 + 1e-5)
    limit = float(np.median([time for _, time in every]))
    found = assign(layers, meetings, latency_ms=limit)
    least = min(loss for loss, time in every if time <= limit + 1e-9)
    assert found.loss == pytest.approx(least, rel=1e-5, abs=0)
    fastest = min(time for _, time in every)
    with pytest.raises(ValueError, match=f"the fastest takes {fastest:.4g} ms"):
        assign(layers, meetings, latency_ms=0.5 * fastest)
    with pytest.raises(ValueError, match="either the largest loss or the largest latency"):
        assign(layers, meetings)


@pytest.fixture(scope="module")
def chained(tmp_path_factory):
    """Three convolutions, the second with one weight far above the others, and a sum."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Conv2d(i, 8, 3, padding=1) for i in (1, 8, 8))

        def forward(self, x):
            x = self.a(x).relu()
            return (x + self.c(self.b(x).relu())).mean((2, 3))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Net().eval()
    with torch.no_grad():
        network.b.weight[:, 0, 0, 0] = 30.0
    folder = tmp_path_factory.mktemp("mixed")
    export_onnx(network, torch.zeros(2, 1, 8, 8), folder / "float.onnx")
    quantize_static(folder / "float.onnx", images(32), folder / "int8.onnx")
    return network, folder


def test_the_loss_of_a_layer_is_that_of_the_file_with_it_alone_in_int8(chained, tmp_path):
    _, folder = chained
    found = losses(onnx.load(folder / "float.onnx"), onnx.load(folder / "int8.onnx"), images(32))
    assert max(found, key=lambda name: found[name]) == "b"
    right = OnnxFile(folder / "float.onnx")(images(32)).astype(np.float64)
    others = Int8(operators=("Conv",), float_layers=("a", "c"))
    quantize_static(folder / "float.onnx", images(32), tmp_path / "b.onnx", others)
    got = OnnxFile(tmp_path / "b.onnx")(images(32))
    alone = ((got - right) ** 2).sum() / (right**2).sum()
    assert found["b"] == pytest.approx(alone, rel=0.3)  # that file rounds its output too


def test_formats_meet_where_layers_and_other_operators_do(chained):
    _, folder = chained
    layers = [LayerChoice(name=name, loss=0, float_ms=1, int8_ms=1) for name in "abc"]
    model = onnx.load(folder / "float.onnx")
    found = meetings_of(model, layers, {"Add"}, images(1), (0.1, 0.001))
    ends = {(one.maker, one.reader) for one in found}
    assert ends == {(FLOAT, 0), (0, 1), (1, 2), (0, INT8), (2, INT8)}
    first = next(one for one in found if one.reader == 0)
    assert first.to_int8_ms == pytest.approx(0.1 + 0.001 * 64)


def test_a_conversion_of_more_numbers_takes_longer(tmp_path):
    fixed, each = conversion_ms(tmp_path)
    assert fixed >= 0
    assert 1e-9 < each < 1e-3


def test_the_step_names_the_layers_that_stay_float(chained, tmp_path, monkeypatch):
    network, folder = chained

    def timed(file, quantized, loss, image, *, threads):
        return [LayerChoice(name=name, loss=value, float_ms=1.0, int8_ms=0.4) for name, value in loss.items()]

    monkeypatch.setattr("compress.steps.mixed_precision.choices", timed)
    monkeypatch.setattr("compress.steps.mixed_precision.conversion_ms", lambda *_, **__: (0.0, 0.0))
    asked = context(example=torch.zeros(1, 1, 8, 8), calibration=images(32))
    start = Candidate(network=network, file=folder / "float.onnx")
    alone = losses(onnx.load(folder / "float.onnx"), onnx.load(folder / "int8.onnx"), images(32))
    share = 1.05 * (alone["a"] + alone["c"]) / sum(alone.values())
    few, all_of_them = MixedPrecision(shares=(share, 1.0)).propose(start, asked, tmp_path)
    assert (few.label, all_of_them.label) == ("int8 for 2 layers, float for b", "int8 for all 3 layers")
    held = {entry.name: numpy_helper.to_array(entry) for entry in onnx.load(few.file).graph.initializer}
    assert held["b.weight"].dtype == np.float32
    assert held["a.weight_quantized"].dtype == np.int8
    with pytest.raises(ValueError, match="the file is int8 already"):
        MixedPrecision().propose(few, asked, tmp_path)
    away = replace(asked, target=FakeTarget(facts=replace(FACTS, local=False)))
    with pytest.raises(ValueError, match="measured on this machine, where the target is not"):
        MixedPrecision().propose(start, away, tmp_path)


def test_where_int8_is_slower_everywhere_nothing_is_proposed(chained, tmp_path, monkeypatch):
    network, folder = chained
    slow = [LayerChoice(name=name, loss=0.1, float_ms=1.0, int8_ms=2.0) for name in "abc"]
    monkeypatch.setattr("compress.steps.mixed_precision.choices", lambda *_, **__: slow)
    asked = context(example=torch.zeros(1, 1, 8, 8), calibration=images(32))
    start = Candidate(network=network, file=folder / "float.onnx")
    with pytest.raises(ValueError, match="int8 pays for none of the 3 layers"):
        MixedPrecision().propose(start, asked, tmp_path)
