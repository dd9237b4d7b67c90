"""By hand: one network trained for the whole budget in Quarry's own loop, with one good recipe.

Run as a process of its own, so that what it costs can be counted: ``python -m tests.benchmarks.by_hand.hand
JOB.json RESULT.json``.
"""

from __future__ import annotations

import contextlib
import copy
import statistics
import sys
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from results.files import write_json
from results.records import Record, read_record
from runners.stages.train import mix_of
from runners.training.batches import TrainingData, batches_per_epoch
from runners.training.finetuning import finetune
from runners.training.settings import TrainSettings
from runners.training.watch import Watch
from tests.benchmarks.by_hand.candidates import Measured, export
from tests.benchmarks.by_hand.families import members
from tests.benchmarks.by_hand.setting import Bench, Setting

BATCH = 128
OPTIMIZER = "muon"
LEARNING_RATE = 4e-3
WEIGHT_DECAY = 0.05
WARMUP_SHARE = 0.1
_PROBE_STEPS = 24
_UNTIMED_STEPS = 4  # of those, at the beginning


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Record):
    """A network to train.

    Attributes:
        setting: what both sides are given.
        folder: folder of the results.
        member: what is trained.
        seed: seed of first values, data order and augmentation, and of the splits.
        budget_s: processor seconds for everything, from the start of the process; None takes ``epochs``.
        epochs: epochs to train, where there is no budget.
        stem: path of the files to write, without their endings.
    """

    setting: Setting
    folder: str
    member: Measured
    seed: int
    budget_s: float | None
    epochs: int
    stem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained(Record):
    """What came of it.

    Attributes:
        file: the exported file.
        validation: accuracy of the file on the validation images; only known where there was no budget.
        epochs: epochs trained.
        training_precision: number format of forward and backward.
        step_s: processor seconds of one step, measured before the training.
        training_macs: multiply-accumulates of all forward and backward passes.
    """

    file: str
    validation: float | None
    epochs: int
    training_precision: str
    step_s: float
    training_macs: float


def epochs_for(budget_s: float, *, spent_s: float, after_s: float, epoch_s: float) -> int:
    """Epochs that use up a budget, to the nearest whole one.

    Args:
        budget_s: processor seconds in all.
        spent_s: what is spent already.
        after_s: what export will take.
        epoch_s: processor seconds of an epoch.

    Raises:
        ValueError: it is not enough for one epoch; says what would be.
    """
    epochs = round((budget_s - spent_s - after_s) / epoch_s)
    if epochs < 1:
        least = spent_s + after_s + epoch_s
        raise ValueError(
            f"{budget_s:.0f} processor seconds for a limit are too few for one epoch; {least:.0f} would do"
        )
    return epochs


def training_macs(macs: float, images: int, epochs: int) -> float:
    """Multiply-accumulates of a training: a backward pass costs two forward passes."""
    steps = batches_per_epoch(images, BATCH) * epochs
    return 3 * macs * steps * min(images, BATCH)


def settings(epochs: int, precision: str) -> TrainSettings:
    """The recipe, the same for all families."""
    return TrainSettings(
        epochs=epochs,
        batch_size=BATCH,
        optimizer=OPTIMIZER,
        learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        warmup_epochs=WARMUP_SHARE * epochs,
        label_smoothing=0.0,
        gradient_clip=1.0,
        average_decay=0.0,
        precision=precision,
    )


def work(job: Job) -> Trained:
    """Trains, exports, and for a screening validates."""
    torch.set_num_threads(job.setting.cores)
    bench = Bench(job.setting, job.seed, Path(job.folder))
    splits = bench.splits
    data = TrainingData(
        images=splits.train.images,
        labels=splits.train.labels,
        prepare=bench.prepare,
        mix=None if job.budget_s is None else mix_of(bench.recipe.train, len(splits.classes)),
        task=bench.task,
    )
    member = next(one for one in members(splits.input_shape) if one.name == job.member.name)
    torch.manual_seed(job.seed)
    network = member.make(splits.input_shape, len(splits.classes)).to(memory_format=torch.channels_last)
    steps_s = {one: step_s(network, data, settings(1, one), job.seed) for one in ("fp32", "bf16")}
    precision = min(steps_s, key=steps_s.__getitem__)
    epoch_s = steps_s[precision] * batches_per_epoch(len(data.images), BATCH)
    epochs = job.epochs
    if job.budget_s is not None:
        epochs = epochs_for(job.budget_s, spent_s=_used_s(), after_s=job.member.making_s, epoch_s=epoch_s)
    print(f"{member.name}: {epochs} epochs of {epoch_s:.1f} s in {precision}, seed {job.seed}", flush=True)
    trained = finetune(
        network,
        data,
        settings(epochs, precision),
        seed=job.seed,
        watch=_Told().watch,
    )
    file = export(bench, trained, Path(job.stem), job.member.precision)[job.member.precision]
    return Trained(
        file=str(file),
        validation=bench.accuracy(file, splits.val) if job.budget_s is None else None,
        epochs=epochs,
        training_precision=precision,
        step_s=steps_s[precision],
        training_macs=training_macs(job.member.macs, len(data.images), epochs),
    )


class _Enough(Exception):
    """The probe has seen its steps."""


def step_s(network: nn.Module, data: TrainingData, settings: TrainSettings, seed: int) -> float:
    """Processor seconds of a training step, the mean of some on a copy of the network."""
    stamps: list[float] = []

    def seen(done: int, total: int) -> None:
        stamps.append(_used_s())
        if done >= min(_PROBE_STEPS, total):
            raise _Enough

    with contextlib.suppress(_Enough):
        finetune(
            copy.deepcopy(network),
            data,
            replace(settings, epochs=_PROBE_STEPS),
            seed=seed,
            watch=Watch(step=seen),
        )
    taken = [after - before for before, after in pairwise(stamps)]
    return statistics.fmean(taken[_UNTIMED_STEPS:])


def _used_s() -> float:
    """Processor seconds of this process, all threads, since it started."""
    return time.process_time()


class _Told:
    """Prints how far a training is, every half minute."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self.watch = Watch(step=self.step)

    def step(self, done: int, total: int) -> None:
        if time.monotonic() - self._last > 30 or done == total:
            self._last = time.monotonic()
            print(f"step {done} of {total}, {_used_s():.0f} s used", flush=True)


if __name__ == "__main__":
    try:
        result = work(read_record(Job, Path(sys.argv[1])))
    except ValueError as error:
        sys.exit(f"error: {error}")
    write_json(Path(sys.argv[2]), result.to_json())
