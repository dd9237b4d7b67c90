"""What the optimizer, and the images that BatchNorm statistics are taken from, are worth to one network.

    python -m tests.benchmarks.one_training DATA
    python -m tests.benchmarks.one_training DATA --epochs 10,20 --seeds 3

DATA is CIFAR-10 as parquet files. The network of docs/results.md (plain 3x3 convolutions, widths 32, 48, 128,
depths 1, 2, 2, a stem of stride 2) is trained alone as the recipe `cifar10` does, but for the mixing of
images. A line for each training: test accuracy in float32 with statistics of augmented training images, as
runs take them, and of the same images as they are.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import torch

from nas.supernet.calibration import recalibrate
from runners.data.load import load_data
from runners.data.prepared import RunData
from runners.data.splits import Prepare
from runners.reading.load import load_recipe
from runners.scoring.networks import own_calibration
from runners.scoring.score import score
from runners.stages.train import train_settings, training_data
from runners.training.standalone import train_alone
from search_spaces.choice import Value
from search_spaces.spaces.presets import preset

WIDTHS, DEPTHS = (32, 48, 128), (1, 2, 2)


def main() -> None:
    """Trains with both optimizers, and prints a line for each training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--epochs", default="10", help="epochs of the trainings, with commas [10]")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = load_recipe("cifar10", [f"data.source={options.data}"])
    splits = load_data(recipe.data, recipe.seed)
    prepare = Prepare(
        preprocessing=splits.preprocessing, crop_padding=recipe.data.crop_padding, flip=recipe.data.flip
    )
    data = RunData(splits=splits, prepare=prepare, calibration_images=recipe.search.calibration_images)
    space = preset("fast-32", classes=len(splits.classes), input_shape=splits.input_shape)
    arch: dict[str, Value] = {"stem.stride": 2}
    for at, (width, depth) in enumerate(zip(WIDTHS, DEPTHS, strict=True)):
        arch |= {f"stage{at}.width": width, f"stage{at}.depth": depth, f"stage{at}.block": "plain"}
    train = replace(training_data(data, recipe.train, torch.device("cpu")), mix=None)
    augmented = own_calibration(data)
    statistics = {"augmented": augmented, "as they are": data.training_images(len(augmented))}
    test_images, test_labels = data.images(splits.test), splits.test.labels
    for epochs in (int(part) for part in options.epochs.split(",")):
        for seed in range(options.seeds):
            for optimizer in ("adamw", "muon"):
                settings = replace(train_settings(recipe.train), epochs=epochs, optimizer=optimizer)
                began = time.process_time()
                trained = train_alone(space, arch, train, settings, seed=seed)
                seconds = time.process_time() - began
                found = {
                    name: score(recalibrate(trained.extract(arch), images), test_images, test_labels)
                    for name, images in statistics.items()
                }
                told = ", ".join(f"{accuracy:.2%} with images {name}" for name, accuracy in found.items())
                print(
                    f"{epochs} epochs, seed {seed}, {optimizer}: {told}; {seconds:.0f} processor seconds",
                    flush=True,
                )


if __name__ == "__main__":
    main()
