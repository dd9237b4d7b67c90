"""Quantization-aware training: rounding simulated, a plain network afterwards, its ranges in the file."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn.utils import weight_norm

from compress.candidate import Candidate
from compress.onnx.aware import tensor_ranges, train_aware
from compress.onnx.export import export_onnx
from compress.onnx.file import OnnxFile
from compress.onnx.static import CONVOLUTIONS, Int8, quantize_static
from compress.onnx.verify import verify
from compress.steps import Quantize, QuantizeAware
from tests.compress.networks import EXAMPLE, images
from tests.compress.targets import context


def _small() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(72, 10),
        )


def _run(steps: int, learning_rate: float, *, bf16: bool = False):
    def train(module: nn.Module) -> nn.Module:
        module.train()
        optimizer = torch.optim.SGD(module.parameters(), learning_rate)
        for step in range(steps):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                outputs = module(torch.from_numpy(images(16, seed=step)))
            outputs.square().mean().backward()
            optimizer.step()
        return module.eval()

    return train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    aware = train_aware(_small(), _run(20, 0.05))
    path = tmp_path_factory.mktemp("aware") / "float.onnx"
    export_onnx(aware.network, EXAMPLE, path)
    return aware, path


def test_what_comes_back_is_the_plain_network_trained(trained):
    aware, _ = trained
    plain = _small()
    assert [type(module) for module in aware.network.modules()] == [
        type(module) for module in plain.modules()
    ]
    assert aware.network.state_dict().keys() == plain.state_dict().keys()
    assert {name for name, _ in aware.network.named_parameters()} == {
        name for name, _ in plain.named_parameters()
    }
    assert not torch.equal(aware.network[3].weight, plain[3].weight)
    copy.deepcopy(aware.network)(EXAMPLE)


def test_the_rounding_is_simulated_while_it_trains():
    """The simulated forward differs from the float one by rounding: not by nothing, and not by much."""
    outputs = {}

    def train(module: nn.Module) -> nn.Module:
        batch = torch.from_numpy(images(64))
        module.train()
        for _ in range(60):
            module(batch)
        outputs["simulated"] = module.eval()(batch).detach()
        return module

    network = _small()
    aware = train_aware(network, train)
    plain = aware.network.eval()(torch.from_numpy(images(64))).detach()
    difference = (outputs["simulated"] - plain).abs().max() / plain.abs().max()
    assert 1e-5 < difference < 0.1


def test_ranges_and_weights_are_those_of_float32_under_autocast_too():
    """In bf16 a moving average stands still, and a value has as few bits as the rounding leaves."""
    exact, cast = (train_aware(_small(), _run(40, 0.05, bf16=bf16)) for bf16 in (False, True))
    assert cast.input_ranges == exact.input_ranges
    assert torch.equal(cast.network[3].weight, exact.network[3].weight)


def test_the_learned_ranges_are_in_the_file(trained, tmp_path):
    aware, path = trained
    assert set(aware.input_ranges) == {"0", "3", "6"}
    learned = tensor_ranges(path, aware.network, aware.input_ranges)
    assert len(learned) == 3
    low, high = learned["images"]
    assert -1e-6 <= low < high <= 1
    target = tmp_path / "int8.onnx"
    quantize_static(path, images(32), target, Int8(operators=CONVOLUTIONS), known_ranges=learned)
    stored = {entry.name: numpy_helper.to_array(entry) for entry in onnx.load(target).graph.initializer}
    for name, (low, high) in learned.items():
        assert stored[f"{name}_scale"] == pytest.approx((max(high, 0) - min(low, 0)) / 255, rel=1e-3)
    with torch.no_grad():
        expected = aware.network(torch.from_numpy(images(50))).numpy()
    assert np.abs(OnnxFile(target)(images(50)) - expected).max() < 0.1 * np.abs(expected).max()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_network_whose_weight_a_hook_computes_is_trained(tmp_path):
    """It holds a weight with a history, which torch refuses to copy."""
    network = nn.Sequential(weight_norm(nn.Conv2d(1, 8, 3)), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
    network(EXAMPLE)
    aware = train_aware(network, _run(5, 0.05))
    export_onnx(aware.network, EXAMPLE, tmp_path / "float.onnx")
    assert len(tensor_ranges(tmp_path / "float.onnx", aware.network, aware.input_ranges)) == 2


def test_the_widest_range_holds_where_layers_share_an_input(network, float_file):
    layers = [f"stage1_block0_attention.inner.{part}.conv" for part in "qkv"]
    learned = tensor_ranges(float_file, network, {layers[0]: (-1, 2), layers[1]: (-3, 1), layers[2]: (0, 4)})
    assert list(learned.values()) == [(-3, 4)]


def test_the_step_gives_an_int8_file_of_the_trained_network(tmp_path):
    trained = []

    def finetune(module: nn.Module, *, seed: int, epochs: int | None = None) -> nn.Module:
        trained.append(epochs)
        return _run(5, 0.05)(module)

    asked = context(example=EXAMPLE, finetune=finetune, calibration=images(32))
    start = Candidate(network=_small(), file=tmp_path / "unused.onnx")
    (candidate,) = QuantizeAware(operators=("convolutions",), epochs=4).propose(start, asked, tmp_path)
    assert candidate.precision == "int8"
    assert trained == [4]
    assert not torch.equal(candidate.network[3].weight, start.network[3].weight)
    record = verify(candidate.file, candidate.network, (images(50), np.zeros(50)))
    assert record.max_difference < 0.1 * record.logit_scale
    for step in (QuantizeAware(), Quantize()):
        with pytest.raises(ValueError, match="the file is int8 already"):
            step.propose(candidate, asked, tmp_path)
    with pytest.raises(ValueError, match="unknown set of operators 'all'. Valid: every operator, products"):
        Quantize(operators=("all",)).propose(start, asked, tmp_path)


def test_a_copying_training_function_and_a_network_without_layers_are_refused():
    with pytest.raises(ValueError, match="trains the module it is given in place"):
        train_aware(_small(), lambda module: nn.Identity())
    with pytest.raises(ValueError, match="ReLU has no layer to quantize"):
        train_aware(nn.ReLU(), lambda module: module)
    with pytest.raises(ValueError, match="saw no images"):
        train_aware(_small(), lambda module: module)


class _Tokens(nn.Module):
    """Linear layers on (B, tokens, channels), with a bias and without."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 16, 2, stride=2)
        self.norm = nn.LayerNorm(16)
        self.wide = nn.Linear(16, 32)
        self.narrow = nn.Linear(32, 16, bias=False)
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = x + self.narrow(self.wide(self.norm(x)).relu())
        return self.head(x.mean(1))


def test_ranges_of_linear_layers_on_tokens_are_in_the_int8_file(tmp_path):
    aware = train_aware(_Tokens(), _run(5, 0.05))
    path, target = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    export_onnx(aware.network, EXAMPLE, path)
    given = {name: (-1.0 - index, 2.0 + index) for index, name in enumerate(sorted(aware.input_ranges))}
    assert set(given) == {"patches", "wide", "narrow", "head"}
    learned = tensor_ranges(path, aware.network, given)
    assert sorted(learned.values()) == sorted(given.values())
    quantize_static(path, images(32), target, known_ranges=learned)
    scales = [
        float(numpy_helper.to_array(entry))
        for entry in onnx.load(target).graph.initializer
        if entry.name.endswith("_scale") and not entry.dims
    ]
    for low, high in given.values():
        assert any(scale == pytest.approx((high - low) / 255, rel=1e-4) for scale in scales)


def test_a_layer_that_is_not_in_the_file_is_named(trained):
    _, path = trained
    with pytest.raises(ValueError, match="what was learned for wide has no layer in the exported file"):
        tensor_ranges(path, _Tokens(), {"wide": (0, 1)})
