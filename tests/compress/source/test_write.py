"""A network as a file of plain PyTorch: it computes and trains alike, and imports nothing of ours."""

from __future__ import annotations

import ast
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from compress.source.forward import CannotBeWritten
from compress.source.write import Written, write
from search_spaces.mixers import MIXERS, mixer
from search_spaces.spaces.presets import preset
from tests.search_spaces.mixers.test_every_mixer import every_value, images, made, width_of

ALLOWED = {"torch", "numpy", "safetensors", *sys.stdlib_module_names}
PRESETS = ("digits", "cifar", "signal-short", "fast-32", "mobilenetv3", "convnext-t")


def built(written: Written) -> nn.Module:
    """The network that the file makes, with its weights."""
    module = ModuleType("written")
    module.__file__ = "model.py"
    sys.modules["written"] = module
    try:
        exec(compile(written.source, "model.py", "exec"), vars(module))
    finally:
        del sys.modules["written"]
    network: nn.Module = module.build()
    network.load_state_dict(written.weights)
    return network


def imported(source: str) -> set[str]:
    """The packages that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {one.name.partition(".")[0] for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).partition(".")[0])
    return found


def gradients(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Of the sum of squares of the outputs, in training mode."""
    network.train().zero_grad()
    network(x).square().sum().backward()
    return {name: one.grad for name, one in network.named_parameters() if one.grad is not None}


def assert_the_same(network: nn.Module, x: Tensor) -> Written:
    written = write(network, x, name="some")
    assert imported(written.source) <= ALLOWED
    other = built(written)
    assert set(network.state_dict()) <= set(written.weights)
    with torch.inference_mode():
        torch.testing.assert_close(other.eval()(x), network.eval()(x), rtol=0, atol=1e-6)
    if not any(one.requires_grad for one in network.parameters()):
        return written
    expected, found = gradients(network, x), gradients(other, x)
    assert expected
    assert set(expected) == set(found)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=lambda text, n=name: f"{n}: {text}")
    for name, value in network.state_dict().items():  # statistics of norms moved alike
        torch.testing.assert_close(other.state_dict()[name], value)
    return written


@pytest.mark.parametrize("name", [name for name in MIXERS if name != "identity"])
def test_every_mixer_is_written(name: str) -> None:
    one = mixer(name)
    assert_the_same(made(one, every_value(one)[-1]), images(width_of(one), (4, 4), batch=3))


@pytest.mark.parametrize("name", PRESETS)
def test_networks_of_presets_are_written(name: str) -> None:
    shape = (1, 1, 256) if name.startswith("signal") else (3, 32, 32)
    space = preset(name, classes=5, input_shape=shape)
    arch = space.to_arch(space.sample(1, np.random.default_rng(0))[0])
    torch.manual_seed(0)
    written = write(space.build(arch), torch.randn(2, *shape), name=name)
    assert imported(written.source) <= ALLOWED


class Odd(nn.Module):
    """All that is no matter of course: dropout, a buffer that is not saved, shared weights, constants."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("offset", torch.arange(4.0)[:, None, None], persistent=False)
        self.scales = nn.ParameterList([nn.Parameter(torch.rand(4, 1, 1)) for _ in range(2)])
        self.first, self.second = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.second.weight = self.first.weight
        self.extra = None
        self.steps = nn.ModuleList([nn.ReLU(), nn.GELU(approximate="tanh")])
        self.norm = nn.GroupNorm(2, 4, eps=1e-3)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

    def helper(self, x: Tensor, power: float) -> Tensor:
        return (-2.0) ** torch.floor(x).clamp(0, 2) * power

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x + self.offset)
        for step, scale in zip(self.steps, self.scales, strict=True):
            x = step(self.second(self.first(x))) * scale
        if self.extra is not None:
            x = self.extra(x)
        if self.training:
            x = x * 1.5
        x = functional.dropout(x, 0.0, self.training) + self.helper(x, 0.1)
        found: Tensor = self.head(x)
        return found


def test_what_is_no_matter_of_course_is_written() -> None:
    torch.manual_seed(0)
    written = assert_the_same(Odd(), torch.randn(2, 4, 4, 4))
    other = built(written)
    assert other.second.weight is other.first.weight
    assert "if self.training:" in written.source


def test_attention_of_torch_is_called_as_it_was() -> None:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            found, _ = self.attention(x, x, x, need_weights=False)
            result: Tensor = found
            return result

    assert_the_same(Attending(), torch.randn(2, 5, 8))


class OfValues(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class OfSizes(nn.Module):
    """What cannot be traced module by module: a condition on sizes, and a hook."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop = nn.BatchNorm2d(3), nn.Dropout(0.5)
        self.lines = nn.ModuleList([nn.Linear(3, 4), nn.Linear(4, 4)])
        self.register_buffer("offset", torch.rand(4))
        self.lines[1].register_forward_hook(lambda _module, _given, found: found * 2.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x).mean((2, 3))
        if x.shape[1] < 4:
            x = self.lines[0](x)
        places = torch.arange(x.shape[0], device=x.device).unsqueeze(1)
        result: Tensor = self.drop(self.lines[1](x) + self.offset + places)
        return result


def test_what_cannot_be_traced_is_written_as_its_operators_in_a_row() -> None:
    torch.manual_seed(0)
    network, x = OfSizes(), torch.randn(3, 3, 5, 5)
    written = write(network, x, name="some")
    assert imported(written.source) <= ALLOWED
    assert "class Program(nn.Module):" in written.source
    other = built(written)
    assert set(network.state_dict()) == set(written.weights)
    for given in (x, x[:1], torch.randn(7, 3, 5, 5)):
        torch.testing.assert_close(other.eval()(given), network.eval()(given))
    torch.manual_seed(1)
    expected = gradients(network, x)
    torch.manual_seed(1)
    found = gradients(other, x)
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    torch.testing.assert_close(other.norm.running_mean, network.norm.running_mean)


def test_tied_weights_of_operators_in_a_row_are_there_once() -> None:
    network, x = OfSizes(), torch.randn(3, 3, 5, 5)
    network.lines.append(nn.Linear(4, 4))
    network.lines[2].weight = network.lines[1].weight
    network.lines[2].register_forward_hook(lambda _module, _given, found: found * 2.0)
    network.drop = network.lines[2]  # type: ignore[assignment]
    other = built(write(network, x, name="some"))
    assert len(list(other.parameters())) == len(list(network.parameters()))
    expected = gradients(network, x)
    found = gradients(other, x)
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_what_cannot_be_written_is_named() -> None:
    words = r"of 1 \(OfValues\) cannot be traced: symbolically .*; the network cannot be exported either: "
    with pytest.raises(CannotBeWritten, match=words):
        write(nn.Sequential(nn.Linear(3, 3), OfValues()), torch.ones(2, 3), name="some")
