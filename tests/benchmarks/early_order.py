"""How early the order of networks is known: nine dense residual networks after few epochs and after many.

    python -m tests.benchmarks.early_order DATA
    python -m tests.benchmarks.early_order DATA --epochs 2,6,15

DATA is CIFAR-10 as parquet files. A line for each network, then Kendall's tau of each early order, and of
multiply-accumulates, with the last.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

import torch
from scipy.stats import kendalltau

from nas.costs.counts.analytic import count
from nas.supernet.calibration import recalibrate
from runners.data.load import load_data
from runners.data.prepared import RunData
from runners.data.splits import Prepare
from runners.reading.load import load_recipe
from runners.recipe.schema import Train
from runners.scoring.networks import own_calibration
from runners.scoring.score import score
from runners.stages.train import train_settings, training_data
from runners.training.settings import TrainSettings
from runners.training.standalone import train_alone
from search_spaces.choice import Value
from search_spaces.spaces.convnet import ConvNet, ConvStage, convnet

NETWORKS: tuple[tuple[tuple[int, int, int], tuple[int, int, int]], ...] = (
    ((16, 32, 64), (1, 1, 1)),
    ((16, 32, 128), (1, 1, 1)),
    ((16, 64, 64), (1, 1, 1)),
    ((16, 32, 64), (2, 2, 2)),
    ((24, 48, 96), (1, 1, 1)),
    ((32, 32, 64), (1, 1, 1)),
    ((16, 48, 96), (1, 1, 2)),
    ((16, 64, 128), (1, 1, 1)),
    ((32, 64, 128), (1, 1, 1)),
)
"""Widths and depths of the three stages."""


def main() -> None:
    """Trains every network for each number of epochs, and prints how the orders agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--epochs", default="3,15", help="epochs of the trainings, ascending [3,15]")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    epochs = tuple(int(part) for part in options.epochs.split(","))
    found: dict[int, list[float]] = {each: [] for each in epochs}
    macs = []
    recipe = load_recipe("cifar10", [f"data.source={options.data}"])
    splits = load_data(recipe.data, recipe.seed)
    prepare = Prepare(preprocessing=splits.preprocessing, crop_padding=4, flip=True)
    data = RunData(splits=splits, prepare=prepare, calibration_images=512)
    stages = tuple(
        ConvStage(
            widths=tuple(sorted({widths[at] for widths, _ in NETWORKS})),
            depths=(1, 2),
            blocks=("residual",),
            stride=2 if at else 1,
            options={"residual": {"gate": ("none",)}},
        )
        for at in range(3)
    )
    space = convnet("early", ConvNet(stages=stages, stem_strides=(2,)), classes=10, input_shape=(3, 32, 32))
    test_images, test_labels = data.images(splits.test), splits.test.labels
    train = training_data(data, recipe.train, torch.device("cpu"))
    for widths, depths in NETWORKS:
        arch = _arch(widths, depths)
        macs.append(float(count(space.build(arch), (3, 32, 32)).macs))
        for each in epochs:
            trained = train_alone(space, arch, train, _settings(recipe.train, each), seed=options.seed)
            network = recalibrate(trained.extract(arch), own_calibration(data))
            found[each].append(score(network, test_images, test_labels, data.task))
        told = ", ".join(f"{found[each][-1]:.2%} after {each}" for each in epochs)
        print(f"widths {widths}, depths {depths}: {macs[-1] / 1e6:.2f} M MACs; {told}", flush=True)
    last = found[epochs[-1]]
    for each in epochs[:-1]:
        print(f"tau of the order after {each} with that after {epochs[-1]}: {_tau(found[each], last):.2f}")
    print(f"tau of multiply-accumulates with it: {_tau(macs, last):.2f}")


def _arch(widths: Sequence[int], depths: Sequence[int]) -> dict[str, Value]:
    arch: dict[str, Value] = {"stem.stride": 2}
    for at, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        arch |= {
            f"stage{at}.width": width,
            f"stage{at}.depth": depth,
            f"stage{at}.block": "residual",
            f"stage{at}.residual.gate": "none",
        }
    return arch


def _settings(recipe: Train, epochs: int) -> TrainSettings:
    return replace(train_settings(recipe), epochs=epochs)


def _tau(first: Sequence[float], second: Sequence[float]) -> float:
    return float(kendalltau(first, second).statistic)


if __name__ == "__main__":
    main()
