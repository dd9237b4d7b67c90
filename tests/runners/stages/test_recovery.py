"""Fine-tuning within compression: killed, it goes on where it was, and leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nas.supernet.supernet import Supernet
from runners.console import Console
from runners.data.load import load_data
from runners.data.prepared import RunData
from runners.data.splits import Prepare
from runners.reading.load import load_recipe
from runners.scoring.networks import Inherited
from runners.stages.compress import Compressing, context_of
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from tests.runners.training.test_loop import tiny_space


class KilledError(Exception):
    pass


def compressing(folder: Path) -> Compressing:
    recipe = load_recipe("digits", ["compress.recovery.epochs=3", "train.average_decay=0.9"])
    splits = load_data(recipe.data, seed=0)
    few = replace(
        splits,
        train=replace(splits.train, images=splits.train.images[:256], labels=splits.train.labels[:256]),
    )
    prepare = Prepare(preprocessing=splits.preprocessing, crop_padding=1)
    data = RunData(splits=few, prepare=prepare, calibration_images=64)
    return Compressing(
        networks=Inherited(supernet=Supernet(tiny_space(), seed=0), data=data),
        data=data,
        target=open_target(load_profile("mcu")),
        recipe=recipe,
        device=torch.device("cpu"),
        folder=folder,
        console=Console(),
    )


def test_a_killed_fine_tuning_of_a_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    begun = Supernet(tiny_space(), seed=1).extract(tiny_space().smallest()).state_dict()
    steps: list[int] = []

    def tuned(folder: Path, kill_at: int = 0) -> dict[str, torch.Tensor]:
        def on_step(done: int, total: int) -> None:
            steps.append(done)
            if done == kill_at:
                raise KilledError

        network = Supernet(tiny_space(), seed=1).extract(tiny_space().smallest())
        network.load_state_dict(begun)
        return context_of(compressing(folder), on_step).finetune(network, seed=4).state_dict()

    whole = tuned(tmp_path / "whole")
    with pytest.raises(KilledError):
        tuned(tmp_path / "killed", kill_at=10)
    steps.clear()
    continued = tuned(tmp_path / "killed")
    assert steps[0] == 9  # from the end of the second epoch, and not from the beginning
    assert all(torch.equal(whole[name], continued[name]) for name in whole)
