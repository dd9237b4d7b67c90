"""Learning rates that fall from the last layer to the first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from runners.training.finetuning import finetune
from runners.training.optimizers import optimizer_of
from runners.training.trainable import OneNetwork
from tests.runners.training.test_loop import SETTINGS, data


def network() -> nn.Sequential:
    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    return nn.Sequential(first, nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(144, 10))


def test_each_layer_has_its_share_of_the_rate_and_norms_that_of_theirs() -> None:
    model = network()
    optimizer = optimizer_of(OneNetwork(model), replace(SETTINGS, layer_decay=0.5))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    scales = {names[id(one)]: group["scale"] for group in optimizer.param_groups for one in group["params"]}
    expected = {"0.0.": 0.25, "0.1.": 0.25, "1.": 0.5, "3.": 1.0}
    assert scales == {
        name: next(s for begin, s in expected.items() if name.startswith(begin)) for name in names.values()
    }
    decays = {
        names[id(one)]: group["weight_decay"] for group in optimizer.param_groups for one in group["params"]
    }
    assert {name: decay > 0 for name, decay in decays.items()} == {
        name: parameter.ndim > 1 for name, parameter in model.named_parameters()
    }


def test_first_layers_move_least(tmp_path: Path) -> None:
    """The first step of AdamW is as long as the learning rate for every weight."""
    few = data(32)
    settings = replace(
        SETTINGS,
        epochs=1,
        batch_size=32,
        weight_decay=0.0,
        average_decay=0.0,
        warmup_epochs=0.0,
        layer_decay=0.1,
    )
    before, model = network(), network()
    finetune(model, few, settings, seed=0, checkpoint=tmp_path / "kept.safetensors")
    moved = [
        float((after - first).abs().median())
        for (name, after), first in zip(model.named_parameters(), before.parameters(), strict=True)
        if name in ("0.0.weight", "1.weight", "3.weight")
    ]
    assert moved[1] / moved[2] == pytest.approx(0.1, rel=0.1)
    assert moved[0] / moved[2] == pytest.approx(0.01, rel=0.1)
    with pytest.raises(ValueError, match="other settings"):
        finetune(
            network(),
            few,
            replace(settings, layer_decay=0.2),
            seed=0,
            checkpoint=tmp_path / "kept.safetensors",
        )
