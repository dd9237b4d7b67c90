"""Every way to rank networks at the same cost, over one space: which finds the best after one final training?

    python -m tests.benchmarks.ways_to_rank DATA                 (DATA: CIFAR-10 as parquet files)
    python -m tests.benchmarks.ways_to_rank DATA --seconds 120 --epochs 30 --seeds 3

A few thousand images of 16x16; convolutional networks of at most a million multiply-accumulates, which stand
for the latency. Each way has as many processor seconds of one core to choose a network as the others; those
that need none (size) are printed for what they need. What they chose is trained in the same way, and the test
accuracy is a row of a Markdown table each.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nas.blockwise import Teacher, errors, learn, loss_terms
from nas.costs.counts.analytic import AnalyticCosts
from nas.costs.counts.sizes import macs_of
from nas.costs.layers.sums import layers_of
from nas.costs.model.correction import Correction
from nas.costs.model.latency import LatencyModel
from nas.proxies import sieve
from nas.rules import rule
from nas.search.exact import Bound, solve
from nas.search.halving import affordable, promoted, rungs
from nas.supernet import Supernet
from nas.supernet.calibration import recalibrate
from runners.data.load import load_data
from runners.data.splits import Prepare, stratified
from runners.recipe.schema import Data
from runners.run.teaching import teacher_arch
from runners.scoring.score import score
from runners.training.batches import TrainingData, batches
from runners.training.loop import train
from runners.training.settings import TrainSettings
from runners.training.standalone import train_alone
from runners.training.trainable import SharedWeights
from runners.training.watch import Watch
from search_spaces.space import Arch, Rows, SearchSpace
from search_spaces.spaces.convnet import ConvNet, ConvStage, convnet

LIMIT_MACS = 1e6
IMAGES, JUDGED, TESTED = 2000, 1000, 5000
FIELD = 24  # networks near the limit, that those ways choose from which go through a list
BATCH = 64
BLOCKS = ("plain", "residual", "mbconv", "depthwise")
OPTIONS = {
    "residual": {"gate": ("none",)},
    "mbconv": {"kernel": (3,), "expansion": (2, 4), "gate": ("none",)},
    "depthwise": {"kernel": (3, 5), "ratio": (1, 2)},
}
SETTINGS = TrainSettings(
    epochs=1,
    batch_size=BATCH,
    learning_rate=4e-3,
    weight_decay=0.05,
    warmup_epochs=0.5,
    label_smoothing=0.0,
    gradient_clip=1.0,
    average_decay=0.0,
    precision="bf16",
)


def small_space() -> SearchSpace:
    """Three stages of plain, residual, inverted and depthwise blocks."""
    stages = tuple(
        ConvStage(widths=widths, depths=(1, 2, 3), blocks=BLOCKS, stride=stride, options=OPTIONS)
        for widths, stride in (((8, 16, 24), 1), ((16, 32, 48), 2), ((32, 64, 96), 2))
    )
    return convnet("ways", ConvNet(stages=stages, stem_strides=(1,)), classes=10, input_shape=(3, 16, 16))


@dataclass(frozen=True, kw_only=True)
class Task:
    """What every way works with.

    Attributes:
        space: the space.
        data: training images.
        val: validation images and their labels, to choose by.
        test: test images and their labels, to judge by.
        seconds: processor seconds for choosing.
        seed: seed of all that is drawn.
    """

    space: SearchSpace
    data: TrainingData
    val: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    seconds: float
    seed: int

    @cached_property
    def macs(self) -> AnalyticCosts:
        """Counts of archs."""
        return AnalyticCosts(self.space)

    @cached_property
    def field(self) -> Rows:
        """Networks that use 70 % of the limit or more, drawn at random."""
        rows = self.space.sample(100_000, np.random.default_rng([self.seed, 0]))
        macs = self.macs.macs(rows)
        near = np.unique(rows[(macs > 0.7 * LIMIT_MACS) & (macs <= LIMIT_MACS)], axis=0)
        return near[np.random.default_rng([self.seed, 1]).permutation(len(near))[:FIELD]]

    @cached_property
    def calibration(self) -> Tensor:
        """Training images for the statistics of norms."""
        return self.data.prepare(self.data.images[:512], None)

    def alone(self, row: np.ndarray, epochs: int, seed: int) -> tuple[Supernet, float]:
        """A network trained alone, and its loss in the last epoch."""
        losses: list[float] = []
        watch = Watch(epoch=lambda summary, _: losses.append(summary.loss))
        settings = replace(SETTINGS, epochs=epochs)
        arch = self.space.to_arch(row)
        return train_alone(self.space, arch, self.data, settings, seed=seed, watch=watch), losses[-1]

    def accuracy(self, supernet: Supernet, arch: Arch, split: tuple[Tensor, Tensor]) -> float:
        """Accuracy of a network with the weights of a supernet."""
        return score(recalibrate(supernet.extract(arch), self.calibration), *split)

    @cached_property
    def epoch_s(self) -> float:
        """Processor seconds of an epoch of a network near the limit."""
        return _each(lambda epochs: self.alone(self.field[0], epochs, 0))


def _each(work: Callable[[int], object], n: int = 1) -> float:
    """Processor seconds of one more, by what twice as many take longer than n: the start does not count."""

    def took(times: int) -> float:
        began = time.process_time()
        work(times)
        return time.process_time() - began

    work(n)  # allocators and kernels settle
    return max(took(2 * n) - took(n), 1e-3) / n


def by_chance(task: Task) -> np.ndarray:
    """Any network of the field."""
    return task.field[0]


def by_size(task: Task) -> np.ndarray:
    """The most multiply-accumulates within the limit, of all there are."""
    less = [replace(one, values=-one.values) for one in task.space.terms(task.space.layer_macs)]
    return solve(task.space, less, _limit(task), gap=0.01)[0].row


def by_proxies(task: Task) -> np.ndarray:
    """The best mean rank of three proxies, in the field."""
    images = task.data.prepare(task.data.images[:BATCH], None)
    archs = [task.space.to_arch(row) for row in task.field]
    found = sieve(
        archs,
        task.space.build,
        ["synflow", "naswot", "zen"],
        images,
        task.data.labels[:BATCH],
        F.cross_entropy,
        seed=task.seed,
    )
    return task.field[found.order[0]]


def by_halving(task: Task) -> np.ndarray:
    """The last of a halving of the field, by training loss."""
    steps = {"first_epochs": 1, "keep": 3, "last": 1}
    plan = affordable(task.seconds / task.epoch_s, most=FIELD, **steps)
    running = list(range(plan[0].networks)) if plan else [0]
    for rung in plan or rungs(networks=1, **steps):
        running = running[: rung.networks]
        losses = [task.alone(task.field[one], rung.epochs, task.seed)[1] for one in running]
        running = promoted(running, [-loss for loss in losses])
    return task.field[running[0]]


def by_shared_weights(task: Task) -> np.ndarray:
    """The best in a random search with the weights of a supernet that had four fifths of the time."""
    chosen_rule, size = rule("sandwich"), macs_of(task.macs, seed=task.seed)

    def trained(epochs: int, data: TrainingData) -> Supernet:
        supernet = SharedWeights(Supernet(task.space, seed=task.seed), size)
        settings = replace(SETTINGS, epochs=epochs)
        found: Supernet = train(supernet, data, settings, rule=chosen_rule, seed=task.seed)
        return found

    few = replace(task.data, images=task.data.images[: 8 * BATCH], labels=task.data.labels[: 8 * BATCH])
    epoch_s = _each(lambda epochs: trained(epochs, few)) * (IMAGES // BATCH) / 8
    began = time.process_time()
    supernet = trained(max(1, int(0.8 * task.seconds / epoch_s)), task.data)
    rows = task.space.sample(100_000, np.random.default_rng([task.seed, 2]))
    macs = task.macs.macs(rows)
    best: tuple[float, np.ndarray] = (-1.0, task.field[0])
    for row in rows[(macs > 0.7 * LIMIT_MACS) & (macs <= LIMIT_MACS)]:
        if time.process_time() - began > task.seconds:
            break
        found = task.accuracy(supernet, task.space.to_arch(row), task.val)
        best = max(best, (found, row), key=lambda one: one[0])
    return best[1]


def by_blocks(task: Task) -> np.ndarray:
    """The least error of blocks that learned a teacher's, which had two thirds of the time."""
    space = task.space
    arch = teacher_arch(space, [_macs_model(space)], LIMIT_MACS / 1e6)
    row = space.to_row(arch)
    epochs = max(1, int(2 / 3 * task.seconds / _each(lambda epochs: task.alone(row, epochs, 0))))
    supernet, _ = task.alone(row, epochs, task.seed)
    network = recalibrate(supernet.extract(arch), task.calibration)
    teacher = Teacher(space=space, arch=arch, network=network)
    step_s = _each(lambda steps: learn(teacher, _images(task), steps=steps), 2)
    students = learn(teacher, _images(task), steps=max(20, int(task.seconds / 3 / step_s)), seed=task.seed)
    found = errors(teacher, students, task.val[0].split(BATCH))
    return solve(space, loss_terms(teacher, found), _limit(task), gap=0.01, budget_s=300)[0].row


def _images(task: Task) -> Iterator[Tensor]:
    epoch = 0
    while True:
        yield from (one for one, _ in batches(task.data, batch_size=BATCH, seed=task.seed, epoch=epoch))
        epoch += 1


def _limit(task: Task) -> dict[str, Bound]:
    return {"macs": Bound(terms=task.space.terms(task.space.layer_macs), limit=LIMIT_MACS)}


def _macs_model(space: SearchSpace) -> LatencyModel:
    """A millisecond for a million multiply-accumulates, known for certain."""
    layers = layers_of(space, 0)
    none = tuple(0.0 for _ in set(layers.kinds))
    correction = Correction(
        slope=1.0,
        offset_ms=0.0,
        per_layer=tuple(0.0 for _ in layers.keys),
        per_kind_ms=none,
        per_byte_ms=none,
        after="",
        per_later_ms=0.0,
        per_later_byte_ms=0.0,
        ms_per_spilled_byte=0.0,
        cache_bytes=0.0,
    )
    return LatencyModel(
        layers=layers, layer_ms=space.layer_macs / 1e6, correction=correction, ratios=(1.0, 1.0, 1.0)
    )


WAYS: dict[str, Callable[[Task], np.ndarray]] = {
    "chance": by_chance,
    "size": by_size,
    "zero-cost proxies": by_proxies,
    "halving, alone": by_halving,
    "shared weights": by_shared_weights,
    "block by block": by_blocks,
}


def load(folder: str, seconds: float, seed: int) -> Task:
    """The task on a part of the images."""
    data = Data(source=folder, height=16, width=16, val_fraction=0.02)
    splits = load_data(data, seed=0)
    whole = splits.train
    _, chosen = stratified(whole.labels.numpy(), IMAGES / len(whole), 0, len(splits.classes))
    prepare = Prepare(preprocessing=splits.preprocessing, crop_padding=1, flip=True)
    training = TrainingData(images=whole.images[chosen], labels=whole.labels[chosen], prepare=prepare)
    val, test = (
        (prepare(split.images[:n], None), split.labels[:n])
        for split, n in ((splits.val, JUDGED), (splits.test, TESTED))
    )
    return Task(space=small_space(), data=training, val=val, test=test, seconds=seconds, seed=seed)


def main() -> None:
    """Chooses by every way and trains what was chosen; prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--seconds", type=float, default=30.0, help="processor seconds for choosing [30]")
    parser.add_argument("--epochs", type=int, default=8, help="epochs of the final training [8]")
    parser.add_argument("--seeds", type=int, default=1, help="final trainings of each [1]")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    task = load(options.data, options.seconds, options.seed)

    @cache
    def final(row: tuple[int, ...], seed: int) -> float:
        supernet, _ = task.alone(np.array(row), options.epochs, seed)
        return task.accuracy(supernet, task.space.to_arch(np.array(row)), task.test)

    print(f"an epoch of a network near the limit: {task.epoch_s:.1f} processor seconds", flush=True)
    print("| way | choosing, s | M MACs | test |\n|---|---|---|---|", flush=True)
    for name, way in WAYS.items():
        began = time.process_time()
        row = way(task)
        took = time.process_time() - began
        macs = float(task.macs.macs(row[None])[0])
        tests = [final(tuple(row.tolist()), options.seed + 10 + each) for each in range(options.seeds)]
        print(f"| {name} | {took:.0f} | {macs / 1e6:.2f} | {np.mean(tests):.1%} |", flush=True)


if __name__ == "__main__":
    main()
