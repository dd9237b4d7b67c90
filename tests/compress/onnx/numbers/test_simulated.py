"""LSQ and DoReFa against their formulas in float64, and what they learned in the file."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from compress.candidate import Candidate
from compress.onnx.aware import train_aware
from compress.onnx.file import OnnxFile
from compress.onnx.numbers.integers import integer_layers
from compress.onnx.numbers.simulated import (
    DoReFaInput,
    DoReFaWeight,
    LearnedInput,
    LearnedWeight,
    settle,
    simulate,
)
from compress.steps import QuantizeAware
from compress.swaps.kinds import ChannelNorm
from tests.compress.networks import EXAMPLE, images, randomise_norms
from tests.compress.targets import context


def _lsq(value: float, step: float, low: int, high: int) -> tuple[float, float, float]:
    """Rounded value, its gradient and that of the step (Esser et al., equations 1 to 3)."""
    ratio = value / step
    if ratio <= low or ratio >= high:
        end = low if ratio <= low else high
        return end * step, 0.0, float(end)
    whole = math.floor(abs(ratio) + 0.5) * math.copysign(1, ratio)
    return whole * step, 1.0, whole - ratio


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_learned_steps_round_and_learn_as_the_paper_has_it(bits):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 2, 3, 3, generator=generator, dtype=torch.float64).requires_grad_()
    upstream = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
    part = LearnedWeight(weight, bits).double()
    rounded = part(weight)
    (rounded * upstream).sum().backward()
    most = 2 ** (bits - 1) - 1
    for channel in range(3):
        step = float(part.step[channel])
        of_step = 0.0
        for index in np.ndindex(2, 3, 3):
            at = (channel, *index)
            value, inside, slope = _lsq(float(weight[at]), step, -most, most)
            assert float(rounded[at]) == pytest.approx(value)
            assert float(weight.grad[at]) == pytest.approx(inside * float(upstream[at]))
            of_step += slope * float(upstream[at])
        damping = 1 / math.sqrt(18 * most)
        assert float(part.step.grad[channel]) == pytest.approx(of_step * damping)
    assert (part.integers(weight) == np.rint((rounded / part.step).detach().numpy())).all()


def test_steps_of_inputs_learn_as_the_paper_has_it():
    x = torch.linspace(-1, 3, 41).reshape(1, -1)
    part = LearnedInput(3)
    part(x)
    step, zero = float(part.step), round(-part.range[0] / float(part.step))
    wide, upstream = (1.7 * x).requires_grad_(), torch.linspace(1, 2, 41).reshape(1, -1)
    (part(wide) * upstream).sum().backward()
    of_step = 0.0
    for value, inside, weight in zip(
        wide[0].tolist(), wide.grad[0].tolist(), upstream[0].tolist(), strict=True
    ):
        _, right, slope = _lsq(value, step, -zero, 7 - zero)
        assert inside == pytest.approx(right * weight)
        of_step += slope * weight
    assert float(part.step.grad) == pytest.approx(of_step / math.sqrt(41 * 7), rel=1e-4)


def test_inputs_begin_with_the_first_batch_and_zero_stays_zero():
    part = LearnedInput(8)
    assert part.range is None
    x = torch.linspace(-1, 3, 1001).reshape(1, -1)
    assert float((part(x) - x).abs().max()) <= float(part.step) / 2 + 1e-6
    assert part.range == pytest.approx((-1, 3), abs=0.02)
    assert float(part(torch.zeros(1, 1))) == 0
    few = LearnedInput(2)
    few(torch.rand(4, 100))
    assert len(few(torch.rand(4, 100)).unique()) == 4


@pytest.mark.parametrize("bits", [1, 2, 5])
def test_bounded_weights_and_inputs_are_those_of_the_paper(bits):
    weight = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    part, levels = DoReFaWeight(bits), 2**bits - 1
    got, whole = part(weight), part.integers(weight)
    largest = max(abs(math.tanh(float(value))) for value in weight.flatten())
    for at in np.ndindex(4, 3):
        value = float(weight[at])
        if bits == 1:
            right = math.copysign(float(weight.abs().mean()), value)
        else:
            right = 2 * round(levels * (math.tanh(value) / (2 * largest) + 0.5)) / levels - 1
        assert float(got[at]) == pytest.approx(right)
        assert whole[at] / (1 if bits == 1 else levels) == pytest.approx(
            right / (abs(right) if bits == 1 else 1)
        )
    x = torch.tensor([-0.3, 0.2, 0.61, 1.7])
    right = [round(levels * min(1, max(0, float(value)))) / levels for value in x]
    assert DoReFaInput(bits)(x).tolist() == pytest.approx(right)


def test_gradients_of_few_bits_are_right_on_average():
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    layers = simulate(network, (nn.Linear,), "dorefa", weight_bits=8, input_bits=8, gradient_bits=3)
    torch.manual_seed(0)
    x, wanted = torch.rand(2, 4), torch.randn(2, 4)
    grads = []
    for _ in range(400):
        network.zero_grad()
        (network[1](x) * wanted).sum().backward()
        grads.append(network[1].bias.grad.clone())
    steps = torch.stack(grads)
    assert max(len(column.unique()) for column in steps.T) > 1
    assert torch.allclose(steps.mean(0), wanted.sum(0), atol=0.08)
    settle(layers)


def _small() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layers = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
        layers += [nn.Conv2d(8, 8, 3, stride=2, groups=2), nn.BatchNorm2d(8), nn.ReLU()]
        layers += [nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(72, 10)]
        return randomise_norms(nn.Sequential(*layers))


def _finetune(module: nn.Module, *, seed: int, epochs: int | None = None) -> nn.Module:
    optimizer = torch.optim.SGD(module.parameters(), 0.02)
    module.train()
    for step in range(8):
        optimizer.zero_grad()
        module(torch.from_numpy(images(16, seed=step))).square().mean().backward()
        optimizer.step()
    return module.eval()


@pytest.mark.parametrize(("method", "bits", "most"), [("lsq", 3, 3), ("dorefa", 2, 3), ("dorefa", 1, 1)])
def test_the_file_has_the_integers_that_were_trained_and_computes_what_the_network_does(
    tmp_path, method, bits, most
):
    simulated = []

    def finetune(module: nn.Module, **_: object) -> nn.Module:
        simulated.append(_finetune(module, seed=0)(torch.from_numpy(images(16))).detach().numpy())
        return module

    asked = context(example=EXAMPLE, finetune=finetune, calibration=images(32))
    start = Candidate(network=_small(), file=tmp_path / "unused.onnx")
    with torch.no_grad():
        start.network[4].weight[0] *= -1  # a factor below zero is folded into the weights
    step = QuantizeAware(operators=("convolutions",), method=method, weight_bits=bits, input_bits=4)
    (candidate,) = step.propose(start, asked, tmp_path)
    held = {entry.name: numpy_helper.to_array(entry) for entry in onnx.load(candidate.file).graph.initializer}
    assert np.abs(held["3.weight_quantized"]).max() <= most
    assert np.abs(held["0.weight_quantized"]).max() > 60
    assert "weight" in dict(candidate.network[3].named_parameters())
    assert set(candidate.network.state_dict()) == set(start.network.state_dict())
    (right,) = simulated
    assert np.abs(OnnxFile(candidate.file)(images(16)) - right).max() < 0.15 * np.abs(right).max()


class _Residual(nn.Module):
    """What passes by the layers is far wider than the [0, 1] that DoReFa leaves of their inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inside = nn.Linear(64, 16), nn.Linear(16, 16)
        self.behind, self.head = nn.Linear(16, 16), nn.Linear(16, 10)

    def forward(self, x):
        x = 20 * self.stem(x.flatten(1)).relu()
        x = x + self.behind(20 * self.inside(x).relu())
        return self.head(x)


@pytest.mark.parametrize("operators", ["convolutions", "every operator"])
def test_the_file_clips_what_goes_into_layers_and_not_what_passes_by(tmp_path, operators):
    simulated = []

    def finetune(module: nn.Module, **_: object) -> nn.Module:
        simulated.append(module.train()(torch.from_numpy(images(32))).detach().numpy())
        return module.eval()

    with torch.random.fork_rng():
        torch.manual_seed(0)
        start = Candidate(network=_Residual(), file=tmp_path / "unused.onnx")
    asked = context(example=EXAMPLE, finetune=finetune, calibration=images(64))
    step = QuantizeAware(operators=(operators,), method="dorefa", weight_bits=4)
    (candidate,) = step.propose(start, asked, tmp_path)
    (right,) = simulated
    error = OnnxFile(candidate.file)(images(32)) - right
    assert np.square(error).mean() < 1e-2 * right.var(axis=0).mean()


def test_of_a_layer_that_a_norm_is_folded_into_nothing_is_taken_for_learned(tmp_path):
    """The file has the layer's weights and inputs times a factor for each channel."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        norm = ChannelNorm(16)
        layers = [nn.Flatten(), nn.Linear(64, 16), norm, nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 10)]
        with torch.no_grad():
            norm.norm.weight.copy_(torch.logspace(-1, 1, 16))
    asked = context(example=EXAMPLE, finetune=_finetune, calibration=images(64))
    start = Candidate(network=nn.Sequential(*layers), file=tmp_path / "unused.onnx")
    (candidate,) = QuantizeAware(operators=("convolutions",), method="lsq").propose(start, asked, tmp_path)
    with torch.no_grad():
        right = candidate.network(torch.from_numpy(images(32))).numpy()
    error = OnnxFile(candidate.file)(images(32)) - right
    assert np.square(error).mean() < 1e-2 * right.var(axis=0).mean()


class _Unordered(nn.Module):
    """Its head is defined first, and one layer never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.unused = nn.Linear(8, 10), nn.Linear(8, 8)
        self.inside, self.stem = nn.Linear(8, 8), nn.Linear(64, 8)

    def forward(self, x):
        return self.head(self.inside(self.stem(x.flatten(1)).relu()).relu())


@pytest.mark.parametrize("method", ["lsq", "dorefa"])
def test_the_first_and_the_last_layer_are_those_that_run_so_and_what_never_runs_has_learned_nothing(method):
    aware = train_aware(_Unordered(), lambda module: _finetune(module, seed=0), method=method, weight_bits=2)
    most = {name: np.abs(whole).max() for name, whole in aware.integers.items()}
    assert set(aware.input_ranges) == set(most) == {"stem", "inside", "head"}
    assert most["inside"] <= 3 < min(most["stem"], most["head"])


class _Tokens(nn.Module):
    """A network whose linear layers are MatMuls without a name in the file, inside a row of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 2, 2)
        self.blocks = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x).flatten(2).transpose(1, 2)).mean(1))


@pytest.mark.parametrize("reduce_range", [False, True])
def test_the_integers_of_linear_layers_on_tokens_are_those_of_the_file_too(tmp_path, reduce_range):
    asked = context(example=EXAMPLE, finetune=_finetune, calibration=images(32))
    with torch.random.fork_rng():
        torch.manual_seed(2)
        start = Candidate(network=_Tokens().eval(), file=tmp_path / "unused.onnx")
    step = QuantizeAware(
        operators=("products and sums",), method="lsq", weight_bits=3, reduce_range=reduce_range
    )
    (candidate,) = step.propose(start, asked, tmp_path)
    model = onnx.load(candidate.file)
    held = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
    most = {one.name: np.abs(held[one.layer.weight]).max() for one in integer_layers(model)}
    assert len(most) == 4
    first, *inside, last = most.values()
    assert max(inside) <= 3
    limit = 64 if reduce_range else 127
    assert 3 < first <= limit
    assert 3 < last <= limit


def test_learned_steps_of_inputs_go_on_from_a_checkpoint(tmp_path):
    """What a batch began is in the weights of the network: another process does not begin anew."""
    layers = simulate(network := _small(), (nn.Conv2d, nn.Linear), "lsq", weight_bits=4, input_bits=4)
    _finetune(network, seed=0)
    simulate(again := _small(), (nn.Conv2d, nn.Linear), "lsq", weight_bits=4, input_bits=4)
    again.load_state_dict(network.state_dict())
    x = torch.from_numpy(images(8, seed=5))
    torch.testing.assert_close(again.train()(2 * x), network.train()(2 * x))
    ranges, _ = settle(layers)
    assert ranges == settle({name: again.get_submodule(name) for name in layers})[0]


def test_looking_at_a_network_begins_no_range():
    part = LearnedInput(8).eval()
    x = torch.tensor([[-1.0, 3.0]])
    assert torch.equal(part(x), x)
    assert part.range is None
    part.train()(10 * x)
    assert part.range == pytest.approx((-10, 30), abs=0.2)


def test_bits_that_a_method_does_not_take_are_refused():
    for change, words in (
        (
            {"method": "lsq", "weight_bits": 1},
            "lsq takes weights of 2 to 8 bits and inputs of 1 to 8, not 1 and 8",
        ),
        ({"weight_bits": 4}, "the method ranges has 8 bits"),
        ({"method": "lsq", "gradient_bits": 4}, "gradients of few bits are a part of dorefa alone"),
        ({"method": "lqs"}, "unknown method of quantization-aware training 'lqs'. Did you mean 'lsq'?"),
    ):
        with pytest.raises(ValueError, match=words):
            train_aware(_small(), lambda module: module, **change)
    for method in ("lsq", "dorefa"):
        with pytest.raises(ValueError, match="saw no images"):
            train_aware(_small(), lambda module: module, method=method)
