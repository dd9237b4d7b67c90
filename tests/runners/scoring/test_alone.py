"""A worker that trains one network: what is left of a training that was killed, and of its threads."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from runners.pools.known import key_of
from runners.scoring import alone
from runners.scoring.alone import AlonePlan, AloneTrainer
from runners.training.batches import Prepare
from runners.training.threads import computing_with
from tests.runners.training.test_loop import SETTINGS, data, prepare, tiny_space


def trainer(folder: Path, prepared: Prepare = prepare, threads: int = 0) -> AloneTrainer:
    whole = data()
    images = prepare(whole.images[:64], None)
    return AloneTrainer(
        plan=AlonePlan(
            space=tiny_space(),
            settings=SETTINGS,
            prepare=prepared,
            mix=None,
            seed=0,
            folder=folder,
            threads=threads,
        ),
        images=whole.images,
        labels=whole.labels,
        calibration=images,
        val_images=images,
        val_labels=whole.labels[:64],
    )


def test_the_seconds_of_a_training_that_was_killed_count(tmp_path: Path) -> None:
    """Epochs are planned by them: a training of which only the end was seen would seem fast."""
    batches = [0] * 4

    def cut_short(images: Tensor, generator: torch.Generator | None) -> Tensor:
        batches.pop()
        return prepare(images, generator)

    arch, whole = tiny_space().smallest(), trainer(tmp_path)
    told = whole.plan.progress(arch)
    with pytest.raises(IndexError):
        trainer(tmp_path, cut_short)(arch)
    told.write_text('{"done": 4, "total": 18, "seconds": 40.0}')
    assert whole(arch)["earlier_s"] == 40.0
    told.write_text('{"done": 4, "total": 18, "seconds": 40.0}')
    again = whole(arch)
    assert math.isfinite(again["train_loss"])
    assert again["earlier_s"] == 0.0  # without a checkpoint it begins anew


def test_a_training_that_was_killed_after_its_last_epoch_has_its_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arch, whole = tiny_space().smallest(), trainer(tmp_path)
    monkeypatch.setattr(alone, "score", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        whole(arch)
    monkeypatch.undo()
    assert whole.plan.checkpoint(arch).exists()
    assert 0 < whole(arch)["train_loss"] < math.log(10)


def test_threads_of_a_training_are_not_those_of_what_comes_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later training in the same process would give other bits than alone."""
    used: list[int] = []
    monkeypatch.setattr(alone, "score", lambda *_: used.append(torch.get_num_threads()) or 0.5)
    arch, whole = tiny_space().smallest(), trainer(tmp_path, threads=2)
    short = replace(whole, plan=replace(whole.plan, epochs={key_of(arch): 1}))
    with computing_with(1):
        short(arch)
        assert (used, torch.get_num_threads()) == ([2], 1)
