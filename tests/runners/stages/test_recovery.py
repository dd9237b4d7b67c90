"""Fine-tuning within compression: killed, it goes on where it was, and leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.supernet.supernet import Supernet
from results.files import read_lines
from results.records import StepRecord, TrainingRecord
from runners.console import Console
from runners.data.load import load_data
from runners.data.prepared import RunData
from runners.data.splits import Prepare
from runners.reading.load import load_recipe
from runners.scoring.networks import Inherited
from runners.stages.compress import context_of
from runners.stages.trainings import Compressing, recorded
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from tests.runners.training.test_loop import tiny_space

STEP = StepRecord(
    network="n1",
    step="finetune",
    kept=True,
    reason="",
    candidate="",
    accuracy_before=0.5,
    accuracy_after=0.6,
    latency_ms_before=1.0,
    latency_ms_after=1.0,
    size_bytes_before=1,
    size_bytes_after=1,
    macs_before=1,
    macs_after=1,
    params_before=1,
    params_after=1,
    seconds=0.0,
)


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
        work = compressing(folder)
        trained = context_of(work, on_step).finetune(network, seed=4).state_dict()
        recorded(work, STEP)
        return trained

    whole = tuned(tmp_path / "whole")
    with pytest.raises(KilledError):
        tuned(tmp_path / "killed", kill_at=10)
    steps.clear()
    continued = tuned(tmp_path / "killed")
    assert steps[0] == 9  # from the end of the second epoch, and not from the beginning
    assert all(torch.equal(whole[name], continued[name]) for name in whole)
    costs = [
        sum(line["macs"] for line in read_lines(tmp_path / which / "trainings.jsonl"))
        for which in ("whole", "killed")
    ]
    assert costs[1] == costs[0]  # written down once, as a whole


def test_a_training_is_written_down_with_its_epochs_and_what_it_cost(tmp_path: Path) -> None:
    work = compressing(tmp_path)
    network = Supernet(tiny_space(), seed=1).extract(tiny_space().smallest())

    def macs(one: torch.nn.Module) -> float:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            one.eval()(work.data.example[:1])
        return counter.get_total_flops() / 2

    teacher = work.networks.teacher()
    assert teacher is not None
    each = 3 * macs(network) + macs(teacher)  # forward and backward of the student, forward of the teacher
    context_of(work, lambda done, total: None).finetune(network, seed=4)
    recorded(work, STEP)
    (record,) = map(TrainingRecord.from_json, read_lines(tmp_path / "trainings.jsonl"))
    assert (record.network, record.step, record.way, record.epochs) == ("n1", "finetune", "further", 3)
    assert record.macs == pytest.approx(3 * 256 * each, rel=0.01)
    assert not (tmp_path / "checkpoints").exists()
