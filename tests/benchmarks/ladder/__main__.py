"""What shared weights cost, and what brings it back: one changed thing at a time, at equal compute.

    python -m tests.benchmarks.ladder DATA --out build/ladder           (DATA: CIFAR-10's parquet files)
    python -m tests.benchmarks.ladder DATA --out build/ladder --rungs "distilled;labels"
    python -m tests.benchmarks.ladder --out build/ladder --table

The space is of 216 networks that an engineer would draw: three stages of dense residual blocks, a stem of
stride 2, widths 16, 24, 32 times 1, 2, 4, depths 1 or 2. A rung trains it with one thing changed, for the
multiply-accumulates that the first rung takes in ``--epochs``, and is judged by what networks inherit, beside
the same networks trained alone for ``--epochs``. Every network alone and every rung is a line of
``lines.jsonl`` when it is done, and goes on from its checkpoint when it was stopped. One thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas.costs.counts.analytic import AnalyticCosts
from nas.ranking import spread
from nas.rules.moment import Moment
from nas.supernet.supernet import Supernet
from results.files import append_line, read_lines
from results.names import unknown
from runners.data.load import load_data
from runners.data.splits import Prepare, Splits, stratified
from runners.recipe.schema import Data
from runners.scoring.subnets import SubnetEvaluator
from runners.training.batches import TrainingData
from runners.training.loop import train
from runners.training.settings import TrainSettings
from runners.training.standalone import train_alone
from runners.training.trainable import SharedWeights
from runners.training.watch import Watch
from tests.benchmarks.ladder.rungs import CALIBRATION_IMAGES, FIRST, RUNGS, Rung, by_hand_space
from tests.benchmarks.ladder.table import table

NETWORKS = 12  # from the smallest to the largest, evenly over log MACs
SETTINGS = TrainSettings(
    epochs=1,
    batch_size=128,
    learning_rate=4e-3,
    weight_decay=0.05,
    warmup_epochs=1.0,
    label_smoothing=0.0,
    gradient_clip=1.0,
    average_decay=0.0,
    precision="auto",
)
"""Those of ``quarry run cifar10`` without its Muon and cutmix, for networks alone and for supernets."""


class Workshop:
    """The data and the networks, made when first asked for.

    Args:
        data: source of the images, CIFAR-10's.
        out: folder of the lines, checkpoints and decoded images.
        images: training images, the same share of every class.
        epochs: epochs of a network alone, and of the first rung.
    """

    def __init__(self, data: str, out: Path, images: int, epochs: int) -> None:
        self.data, self.out, self.images, self.epochs = data, out, images, epochs
        self.space = by_hand_space()
        self.costs = AnalyticCosts(self.space)
        rows = spread(self.space, self.costs.macs, NETWORKS, seed=0)
        self.archs = [self.space.to_arch(row) for row in rows]
        self.macs = self.costs.macs(rows).tolist()

    @cached_property
    def splits(self) -> Splits:
        recipe = Data(source=self.data, height=32, width=32, channels=3, val_fraction=0.02)
        return load_data(recipe, 0, self.out / "decoded.safetensors")

    @cached_property
    def prepare(self) -> Prepare:
        return Prepare(preprocessing=self.splits.preprocessing, crop_padding=4, flip=True)

    @cached_property
    def training(self) -> TrainingData:
        """The fixed subset."""
        whole = self.splits.train
        share = self.images / len(whole)
        _, chosen = stratified(whole.labels.numpy(), share, 0, len(self.splits.classes))
        return TrainingData(images=whole.images[chosen], labels=whole.labels[chosen], prepare=self.prepare)

    def accuracy(self, supernet: Supernet, network: int, calibration: int) -> float:
        """Accuracy of a network on all test images, statistics of norms from training images."""
        judge = SubnetEvaluator(
            supernet=supernet,
            calibration=self.prepare(self.training.images[:calibration], None),
            images=self.test_images,
            labels=self.splits.test.labels,
        )
        return judge(self.archs[network])["accuracy"]

    @cached_property
    def test_images(self) -> torch.Tensor:
        return self.prepare(self.splits.test.images, None)

    def weights(self, label: str, seed: int) -> Path:
        """The file of a rung's supernet."""
        return self.out / f"supernet-{rung_name(label, seed)}.safetensors"

    def macs_each_step(self, rung: Rung, samples: int = 200) -> float:
        """Mean MACs of a step's passes for one image, over a whole training."""
        space = by_hand_space(rung.blocks)
        costs, total = AnalyticCosts(space), 0.0
        for step in range(samples):
            moment = Moment(
                space=space,
                rng=np.random.default_rng([7, step]),
                progress=step / samples,
                size=costs.macs,
            )
            rows = np.stack([space.to_row(one.arch) for one in rung.rule(moment)])
            total += float(costs.macs(rows).sum())
        return total / samples


def follow(name: str) -> Watch:
    """Tells how far a training is, epoch by epoch."""
    began = time.process_time()

    def told(summary: Any, model: Any) -> None:
        del model
        used = time.process_time() - began
        print(f"{name}: epoch {summary.epoch + 1}, loss {summary.loss:.3f}, {used:.0f} s", flush=True)

    return Watch(epoch=told)


def alone(shop: Workshop, network: int, seed: int) -> dict[str, Any]:
    """A network trained by itself."""
    name = alone_name(network, seed)
    began = time.process_time()
    checkpoint = shop.out / f"{name}.safetensors"
    plan = replace(SETTINGS, epochs=shop.epochs)
    trained = train_alone(
        shop.space,
        shop.archs[network],
        shop.training,
        plan,
        seed=seed,
        checkpoint=checkpoint,
        watch=follow(name),
    )
    accuracy = shop.accuracy(trained, network, CALIBRATION_IMAGES)
    checkpoint.unlink()
    return {
        "name": name,
        "network": network,
        "arch": shop.archs[network],
        "macs": shop.macs[network],
        "accuracy": accuracy,
        "cpu_s": time.process_time() - began,
    }


def climb(shop: Workshop, label: str, seed: int) -> dict[str, Any]:
    """A supernet trained by a rung, for as many MACs as the first rung takes in its epochs."""
    rung = RUNGS[label]
    budget = shop.epochs * shop.macs_each_step(FIRST)
    each_step = shop.macs_each_step(rung)
    epochs = max(1, round(budget / each_step))
    began = time.process_time()
    if rung.weights_of:
        trained = Supernet.load(shop.weights(rung.weights_of, seed), by_hand_space(rung.blocks))
    else:
        trained = trained_by(shop, label, seed, epochs)
    training_s = time.process_time() - began
    accuracies = [
        shop.accuracy(trained, network, rung.calibration_images) for network in range(len(shop.archs))
    ]
    return {
        "name": rung_name(label, seed),
        "rung": label,
        "seed": seed,
        "epochs": epochs,
        "compute": epochs * each_step / budget,
        "accuracies": accuracies,
        "training_s": training_s,
    }


def trained_by(shop: Workshop, label: str, seed: int, epochs: int) -> Supernet:
    """The supernet of a rung, which is also kept in a file."""
    rung, name = RUNGS[label], rung_name(label, seed)
    space = by_hand_space(rung.blocks)
    checkpoint = shop.out / f"{name}.safetensors"
    trained = train(
        SharedWeights(Supernet(space, seed=seed, own_norms=rung.own_norms), AnalyticCosts(space).macs),
        shop.training,
        replace(SETTINGS, epochs=epochs, **rung.settings),
        rule=rung.rule,
        seed=seed,
        checkpoint=checkpoint,
        watch=follow(name),
    )
    trained.save(shop.weights(label, seed))
    checkpoint.unlink()
    return trained


def alone_name(network: int, seed: int) -> str:
    return f"alone-{network}-{seed}"


def rung_name(label: str, seed: int) -> str:
    return f"{label.replace(', ', '-').replace(' ', '-')}-{seed}"


Work = Callable[[Workshop], dict[str, Any]]


def pieces(
    labels: tuple[str, ...], seeds: tuple[int, ...], networks: tuple[int, ...]
) -> Iterator[tuple[str, Work]]:
    """All of the work by name: networks alone, then the rungs, seed by seed."""
    for network in networks:
        yield alone_name(network, 0), lambda shop, network=network: alone(shop, network, 0)
    for seed in seeds:
        for label in labels:
            yield rung_name(label, seed), lambda shop, label=label, seed=seed: climb(shop, label, seed)


def work(shop: Workshop, todo: Iterator[tuple[str, Work]]) -> None:
    """Does what is not done yet; a line for each piece."""
    log = shop.out / "lines.jsonl"
    for name, make in todo:
        if name not in {line["name"] for line in read_lines(log)}:
            append_line(log, make(shop))


def labels_of(text: str) -> tuple[str, ...]:
    """Names of rungs, separated by semicolons."""
    found = tuple(filter(None, (part.strip() for part in text.split(";"))))
    for label in found:
        if label not in RUNGS:
            raise argparse.ArgumentTypeError(unknown("rung", label, RUNGS))
    return found


def numbers_of(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="?", help="folder with CIFAR-10's parquet files")
    parser.add_argument("--out", type=Path, default=Path("build/ladder"))
    parser.add_argument(
        "--rungs", type=labels_of, default=tuple(RUNGS), help="names, separated by semicolons"
    )
    parser.add_argument("--alone", type=numbers_of, default=tuple(range(NETWORKS)), help="networks 0 to 11")
    parser.add_argument("--seeds", type=numbers_of, default=(0,))
    parser.add_argument(
        "--images", type=int, default=12_000, help="training images; take another --out for each"
    )
    parser.add_argument("--epochs", type=int, default=10, help="epochs alone; take another --out for each")
    parser.add_argument("--table", action="store_true", help="only print what was measured")
    options = parser.parse_args()
    if not options.table:
        if options.data is None:
            parser.error("give the folder of CIFAR-10's parquet files")
        torch.set_num_threads(1)
        options.out.mkdir(parents=True, exist_ok=True)
        shop = Workshop(options.data, options.out, options.images, options.epochs)
        work(shop, pieces(options.rungs, options.seeds, options.alone))
    print(table(list(read_lines(options.out / "lines.jsonl")), tuple(RUNGS)))


if __name__ == "__main__":
    main()
