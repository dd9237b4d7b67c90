"""How well a supernet ranks by each training rule: CIFAR-10 at 16x16, equal compute, against networks alone.

    python -m tests.benchmarks.training_rules FOLDER --out build/training_rules      (FOLDER: parquet files)
    python -m tests.benchmarks.training_rules --out build/training_rules --table
    python -m tests.benchmarks.training_rules FOLDER --out build/longer --epochs 30 --rules "sandwich;uniform"

Every piece of work (a network trained alone, a supernet trained by a rule, a network fine-tuned from one) is
a line of ``pieces.jsonl`` when it is done, and goes on from its checkpoint when it was stopped. Start the
command twice to have two processes share the work. Each computes on one thread.
"""

from __future__ import annotations

import argparse
import fcntl
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas.costs.counts.analytic import AnalyticCosts
from nas.costs.counts.sizes import macs_of
from nas.ranking import spread
from nas.rules import rule
from nas.rules.moment import Moment, Pass, Rule, Size
from nas.supernet.calibration import recalibrate
from nas.supernet.supernet import Supernet
from results.files import append_line, read_lines
from runners.data.load import load_data
from runners.data.splits import Prepare, Splits, stratified
from runners.recipe.schema import Data
from runners.scoring.score import score
from runners.scoring.subnets import SubnetEvaluator
from runners.training.batches import TrainingData
from runners.training.finetuning import Taught, finetune
from runners.training.loop import train
from runners.training.settings import TrainSettings
from runners.training.standalone import train_alone
from runners.training.trainable import SharedWeights
from runners.training.watch import Watch
from search_spaces.space import Arch
from search_spaces.spaces.metaformer import Stage, metaformer
from tests.benchmarks.training_rules_table import table

SIDE = 16
TRAIN_IMAGES = 10_000
CALIBRATION_IMAGES = 512
NETWORKS = 24
SECOND_SEED = (2, 8, 14, 20)  # networks trained alone twice: how far two trainings of one network are apart
EPOCHS = 6  # of a network alone, and of the supernet by the sandwich; other rules get the same MACs
FINETUNE_EPOCHS = 2
TUNED = tuple(range(0, NETWORKS, 4))
SEEDS = 3
BATCH = 64
DISTILLED = {"labels": 0.0}
RULES: dict[str, dict[str, Any]] = {
    "sandwich": {"rule": "sandwich", "options": DISTILLED},
    "sandwich, alpha-divergence": {"rule": "sandwich", "options": DISTILLED, "distillation": "alpha"},
    "sandwich, by choices": {"rule": "sandwich", "options": DISTILLED, "sampling": "choices"},
    "sandwich, sizes 12 and 16": {
        "rule": "sandwich",
        "options": DISTILLED,
        "resolutions": ((12, 12), (16, 16)),
    },
    "sandwich, from labels": {"rule": "sandwich"},
    "progressive": {"rule": "progressive"},
    "delayed": {"rule": "delayed"},
    "nested": {"rule": "nested"},
    "cost_buckets": {"rule": "cost_buckets"},
    "uniform": {"rule": "uniform"},
}

KERNELS = {"depthwise": {"kernel": (3, 5)}}
SPACE = metaformer(
    "cifar-16",
    [
        Stage(widths=(16, 32), depths=(1, 2), options=KERNELS, ratios=(1, 2, 4)),
        Stage(widths=(32, 64), depths=(1, 2), options=KERNELS, ratios=(1, 2, 4)),
    ],
    classes=10,
    input_shape=(3, SIDE, SIDE),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A line of the file: what it is called, and what makes it."""

    name: str
    make: Callable[[Workshop], dict[str, Any]]


class Workshop:
    """The data and the networks, made when first asked for."""

    def __init__(self, folder: Path, out: Path, epochs: int) -> None:
        self.folder, self.out, self.epochs = folder, out, epochs
        self.size = macs_of(AnalyticCosts(SPACE), seed=0)
        self.archs = [SPACE.to_arch(row) for row in spread(SPACE, self.size, NETWORKS, seed=0)]

    @cached_property
    def splits(self) -> Splits:
        data = Data(source=str(self.folder), height=SIDE, width=SIDE, val_fraction=0.02)
        return load_data(data, seed=0)

    @cached_property
    def prepare(self) -> Prepare:
        return Prepare(preprocessing=self.splits.preprocessing, crop_padding=1, flip=True)

    @cached_property
    def training(self) -> TrainingData:
        """The fixed subset, the same share of every class."""
        whole = self.splits.train
        _, chosen = stratified(whole.labels.numpy(), TRAIN_IMAGES / len(whole), 0, len(self.splits.classes))
        return TrainingData(images=whole.images[chosen], labels=whole.labels[chosen], prepare=self.prepare)

    def evaluator(self, supernet: Supernet) -> SubnetEvaluator:
        """Scores on all test images, with BatchNorm statistics of training images."""
        return SubnetEvaluator(
            supernet=supernet,
            calibration=self.prepare(self.training.images[:CALIBRATION_IMAGES], None),
            images=self.prepare(self.splits.test.images, None),
            labels=self.splits.test.labels,
        )

    def macs(self, arch: Arch) -> float:
        return float(self.size(SPACE.to_row(arch)[None])[0])


class Clock:
    """Seconds of computing for each step, whatever else the machine does meanwhile."""

    def __init__(self, name: str) -> None:
        self._name, self._first, self._began = name, -1, 0.0
        self.images_per_second = 0.0

    def step(self, done: int, total: int) -> None:
        if self._first < 0:
            self._first, self._began = done, time.process_time()
            return
        seconds = time.process_time() - self._began
        self.images_per_second = (done - self._first) * BATCH / seconds
        if done % 200 == 0:
            print(f"{self._name}: step {done} of {total}, {self.images_per_second:.0f} images/s", flush=True)


def settings(epochs: int, distillation: str = "kl") -> TrainSettings:
    """The same for networks alone and supernets."""
    return TrainSettings(
        epochs=epochs,
        batch_size=BATCH,
        learning_rate=3e-3,
        weight_decay=0.05,
        warmup_epochs=0.5,
        label_smoothing=0.0,
        gradient_clip=1.0,
        average_decay=0.0,
        distillation=distillation,
    )


def alone(shop: Workshop, *, network: int, seed: int, name: str) -> dict[str, Any]:
    """A network trained by itself."""
    clock, arch, checkpoint = Clock(name), shop.archs[network], shop.out / f"{name}.safetensors"
    trained = train_alone(
        SPACE,
        arch,
        shop.training,
        settings(shop.epochs),
        seed=seed,
        checkpoint=checkpoint,
        watch=Watch(step=clock.step),
    )
    checkpoint.unlink()
    return {
        "kind": "alone",
        "network": network,
        "seed": seed,
        "arch": arch,
        "macs": shop.macs(arch),
        "accuracy": shop.evaluator(trained)(arch)["accuracy"],
        "images_per_second": clock.images_per_second,
    }


def by_rule(shop: Workshop, *, label: str, seed: int, name: str) -> dict[str, Any]:
    """A supernet trained by a rule, for as many MACs as the sandwich takes in ``shop.epochs``."""
    chosen = {"distillation": "kl", "sampling": "size", **RULES[label]}
    made = rule(chosen["rule"], chosen.get("options"), resolutions=chosen.get("resolutions", ()))
    size = shop.size if chosen["sampling"] == "size" else None
    budget = shop.epochs * macs_each_step(shop, rule("sandwich"), shop.size)
    each_step = macs_each_step(shop, made, size)
    epochs = max(1, round(budget / each_step))
    clock, checkpoint = Clock(name), shop.out / f"{name}.safetensors"
    trained = train(
        SharedWeights(Supernet(SPACE, seed=seed), size),
        shop.training,
        settings(epochs, chosen["distillation"]),
        rule=made,
        seed=seed,
        checkpoint=checkpoint,
        watch=Watch(step=clock.step),
    )
    trained.save(shop.out / f"supernet-{name}.safetensors")
    checkpoint.unlink()
    evaluator = shop.evaluator(trained)
    return {
        "kind": "rule",
        "label": label,
        "seed": seed,
        "epochs": epochs,
        "compute": epochs * each_step / budget,
        "accuracies": [evaluator(arch)["accuracy"] for arch in shop.archs],
        "images_per_second": clock.images_per_second,
    }


def macs_each_step(shop: Workshop, made: Rule, size: Size | None, samples: int = 400) -> float:
    """Mean MACs of a step's passes for one image, over a whole training with draws by that size."""

    def one(chosen: Pass) -> float:
        height = (chosen.resolution or (SIDE, SIDE))[0]
        return shop.macs(chosen.arch) * (height / SIDE) ** 2

    steps = [
        made(
            Moment(
                space=SPACE,
                rng=np.random.default_rng([7, step]),
                progress=step / samples,
                size=size,
            )
        )
        for step in range(samples)
    ]
    return sum(one(chosen) for passes in steps for chosen in passes) / samples


def tuned(shop: Workshop, *, label: str, seed: int, network: int, name: str) -> dict[str, Any]:
    """A network trained a little further from what it inherited, with the largest as its teacher."""
    del name
    path = shop.out / f"supernet-{rule_name(label, seed)}.safetensors"
    evaluator = shop.evaluator(Supernet.load(path, SPACE))
    plan = replace(settings(FINETUNE_EPOCHS), learning_rate=1e-3)
    network_, teacher = (
        recalibrate(evaluator.supernet.extract(arch), evaluator.calibration)
        for arch in (shop.archs[network], SPACE.largest())
    )
    done = finetune(network_, shop.training, plan, taught=Taught(teachers=(teacher,)), seed=seed)
    recalibrate(done, evaluator.calibration)
    return {
        "kind": "tuned",
        "label": label,
        "seed": seed,
        "network": network,
        "accuracy": score(done, evaluator.images, evaluator.labels),
    }


def rule_name(label: str, seed: int) -> str:
    return f"{label.replace(', ', '-').replace(' ', '-')}-{seed}"


def pieces(labels: tuple[str, ...], tune: tuple[str, ...]) -> Iterator[Piece]:
    """All of the work, so ordered that wherever it is stopped what is there can be compared."""
    for network in range(NETWORKS):
        name = f"alone-{network}-0"
        yield Piece(name=name, make=partial(alone, network=network, seed=0, name=name))
    for seed in range(SEEDS):
        for label in labels:
            name = rule_name(label, seed)
            yield Piece(name=name, make=partial(by_rule, label=label, seed=seed, name=name))
        if seed == 0:
            for network in SECOND_SEED:
                name = f"alone-{network}-1"
                yield Piece(name=name, make=partial(alone, network=network, seed=1, name=name))
    for seed in range(SEEDS):
        for network in TUNED:
            for label in tune:
                name = f"tuned-{network}-{rule_name(label, seed)}"
                make = partial(tuned, label=label, seed=seed, network=network, name=name)
                yield Piece(name=name, make=make)


def claim(path: Path) -> int | None:
    """A lock that ends with the process; None where another one has it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def work(shop: Workshop, todo: Iterator[Piece], only: str, minutes: float) -> None:
    """Does whatever nobody did or is doing; begins nothing new when the time is over."""
    until = time.monotonic() + 60 * minutes
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    log, locks = shop.out / "pieces.jsonl", shop.out / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    for piece in todo:
        if time.monotonic() > until:
            return
        lock = claim(locks / piece.name) if piece.name.startswith(only) else None
        if lock is None:
            continue
        if piece.name not in {line["name"] for line in read_lines(log)}:
            append_line(log, {"name": piece.name, **piece.make(shop)})
        os.close(lock)


def labels_of(text: str) -> tuple[str, ...]:
    """Names of rules, separated by semicolons."""
    found = tuple(filter(None, text.split(";")))
    unknown = [label for label in found if label not in RULES]
    if unknown:
        raise argparse.ArgumentTypeError(f"no rule {unknown[0]!r}; there are {'; '.join(RULES)}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="with CIFAR-10's parquet files")
    parser.add_argument("--out", type=Path, default=Path("build/training_rules"))
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="take another --out for each")
    parser.add_argument("--rules", type=labels_of, default=tuple(RULES), help="separated by semicolons")
    parser.add_argument("--tune", type=labels_of, default=("sandwich",), help="rules to fine-tune from")
    parser.add_argument("--only", default="", help="pieces whose name begins so")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin nothing new after that")
    parser.add_argument("--table", action="store_true", help="only print what was measured")
    arguments = parser.parse_args()
    if not arguments.table:
        if arguments.folder is None:
            parser.error("give the folder of CIFAR-10's parquet files")
        shop = Workshop(arguments.folder, arguments.out, arguments.epochs)
        work(shop, pieces(arguments.rules, arguments.tune), arguments.only, arguments.minutes)
    print(table(list(read_lines(arguments.out / "pieces.jsonl")), list(RULES)))


if __name__ == "__main__":
    main()
