"""The step ``finetune``: behind frozen norms, and means with the weights before beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compress.candidate import Candidate, Context
from compress.steps import STEPS, Finetune
from compress.tuning.frozen_norms import FoldedConv
from tests.compress.networks import EXAMPLE, digits_network, images
from tests.compress.targets import context


def moved(network: nn.Module, *, seed: int, epochs: int | None = None) -> nn.Module:
    del seed, epochs
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.01)
    network.train()(torch.from_numpy(images(8)))  # statistics move where they may
    return network.eval()


def asked(**given: Any) -> Context:
    return context(example=EXAMPLE, images=images(2), finetune=moved, **given)


def test_means_are_tried_beside_the_trained_network(tmp_path: Path) -> None:
    start = Candidate(network=digits_network(), file=tmp_path / "float.onnx")
    found = Finetune(means=(0.25, "entropy")).propose(start, asked(calibration=images(6)), tmp_path)
    first = next(start.network.parameters())
    steps = [float((next(one.network.parameters()) - first).detach().mean()) for one in found]
    assert steps[:2] == pytest.approx([0.01, 0.0025], abs=1e-6)
    assert 0.001 < steps[2] < 0.009
    assert found[0].label == ""
    assert found[1].label == "25% of the trained weights, the rest of those before"
    assert len({one.file for one in found}) == 3
    assert all(one.file.exists() for one in found)


def test_frozen_norms_keep_their_statistics_and_the_network_its_modules(tmp_path: Path) -> None:
    start = Candidate(network=digits_network(), file=tmp_path / "float.onnx")
    before = {name: one.clone() for name, one in start.network.named_buffers()}
    (frozen,) = Finetune(norms="frozen").propose(start, asked(), tmp_path / "a")
    (trained,) = Finetune().propose(start, asked(), tmp_path / "b")
    own, other = dict(frozen.network.named_buffers()), dict(trained.network.named_buffers())
    assert before
    assert own.keys() == before.keys()
    assert all(torch.equal(before[name], value) for name, value in own.items())
    assert any(not torch.equal(before[name], value) for name, value in other.items())
    assert not any(isinstance(one, FoldedConv) for one in frozen.network.modules())
    assert torch.equal(next(frozen.network.parameters()), next(trained.network.parameters()))


def test_a_training_that_is_not_in_place_cannot_freeze_norms(tmp_path: Path) -> None:
    start = Candidate(network=digits_network(), file=tmp_path / "float.onnx")
    other = context(example=EXAMPLE, images=images(2), finetune=lambda network, **_: digits_network())
    with pytest.raises(ValueError, match="train it in place and to return it"):
        Finetune(norms="frozen").propose(start, other, tmp_path)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="less than 1"):
        STEPS.configured("finetune", {"means": [1.5]})
