"""The number format of a training: bf16 where the processor has it and the networks run in it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nas.supernet.supernet import Supernet
from runners.training import precision as module
from runners.training.precision import has_bf16, resolve
from runners.training.trainable import OneNetwork, SharedWeights
from search_spaces.choice import Choice
from search_spaces.space import Arch, SearchSpace
from tests.runners.training.test_loop import SETTINGS, Killed, data, run, tiny_space


class OnlyFloat32(nn.Module):
    """Writes into a buffer of its own, which takes no other format."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = torch.zeros(len(x), 10)
        out[torch.arange(len(x))] = self.inner(x.flatten(1))
        return out


def norm_and_dropout() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10), nn.Dropout(0.5))


@pytest.fixture
def bf16_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
        ({"avx512_f": True}, "fp32"),
        ({}, "fp32"),
    ],
)
def test_the_processor_decides(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: str
) -> None:
    monkeypatch.setattr(module.torch.cpu, "get_capabilities", lambda: capabilities)
    assert has_bf16(torch.device("cpu")) == (expected == "bf16")
    assert resolve("auto", SharedWeights(Supernet(tiny_space())), data(64)) == expected
    for asked in ("fp32", "bf16"):
        assert resolve(asked, SharedWeights(Supernet(tiny_space())), data(64)) == asked


@pytest.mark.usefixtures("bf16_here")
def test_a_network_that_does_not_run_in_bf16_is_trained_in_float32() -> None:
    assert resolve("auto", OneNetwork(OnlyFloat32()), data(64)) == "fp32"
    assert resolve("auto", OneNetwork(norm_and_dropout()), data(64)) == "bf16"


@pytest.mark.usefixtures("bf16_here")
@pytest.mark.parametrize(("small", "expected"), [(OnlyFloat32, "fp32"), (norm_and_dropout, "bf16")])
def test_every_value_of_a_category_is_tried(small: Callable[[], nn.Module], expected: str) -> None:
    """It is not in the largest network, and would end the training where it is first drawn."""

    def build(arch: Arch) -> nn.Module:
        wide = nn.Sequential(nn.Flatten(), nn.Linear(64, 256), nn.Linear(256, 10))
        inner = wide if arch["kind"] == "wide" else small()
        return nn.Sequential(OrderedDict({str(arch["kind"]): inner}))

    space = SearchSpace("two", [Choice("kind", ("wide", "small"))], build, input_shape=(1, 8, 8))
    assert space.largest() == {"kind": "wide"}
    assert resolve("auto", SharedWeights(Supernet(space)), data(64)) == expected


@pytest.mark.usefixtures("bf16_here")
def test_looking_changes_neither_statistics_nor_random_numbers() -> None:
    network = norm_and_dropout()
    before, drawn = {k: v.clone() for k, v in network.state_dict().items()}, torch.random.get_rng_state()
    resolve("auto", OneNetwork(network), data(64))
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in before.items())
    assert torch.equal(drawn, torch.random.get_rng_state())


@pytest.mark.usefixtures("bf16_here")
def test_auto_trains_as_what_it_takes_and_resumes_exactly(tmp_path: Path) -> None:
    auto = replace(SETTINGS, precision="auto")
    whole, _ = run(tmp_path / "whole", auto)
    asked, _ = run(tmp_path / "asked", replace(SETTINGS, precision="bf16"))
    with pytest.raises(Killed):
        run(tmp_path / "killed", auto, kill_at=7)
    continued, _ = run(tmp_path / "killed", auto)
    for group, flat in whole.flat.items():
        assert torch.equal(flat, asked.flat[group])
        assert torch.equal(flat, continued.flat[group])
