"""What both sides are given: images, a trained network, and how it may be trained further."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import nn

from compress.target import Target
from results.files import replace_atomic
from results.records import Record
from results.statistics import top1
from runners.compressing.job import data_of
from runners.compressing.options import Options
from runners.console import Console
from runners.data.prepared import RunData
from runners.data.splits import Split
from runners.data.tables import labelled_cells
from runners.recipe.schema import Recipe
from runners.stages.train import training_data
from runners.stages.trainings import finetune_settings
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from runners.training.batches import TrainingData
from runners.training.finetuning import finetune
from runners.training.settings import TrainSettings
from tests.benchmarks.by_hand.hand import settings as by_hand
from tests.benchmarks.compression.networks import NETWORKS

SHAPE = (3, 32, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting(Record):
    """What does not change within a folder of results.

    Attributes:
        data: CIFAR-10's parquet files.
        images: training images of these, validation included.
        base_epochs: epochs of the network that is compressed, from scratch.
        epochs: epochs that Quarry trains each network that it cut.
        factors: how many times as fast the files are to be, ascending.
        seed: seed of everything random.
    """

    data: str
    images: int
    base_epochs: int
    epochs: int
    factors: tuple[float, ...]
    seed: int


def subset(source: Path, images: int, seed: int, folder: Path) -> Path:
    """A folder with a parquet file of some training images, drawn at random, and all test images."""
    done = folder / f"cifar10-{images}"
    if (done / "test.parquet").exists():
        return done
    import datasets

    names, cells = labelled_cells(source)
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=list(names))})
    done.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):  # the last one written says that all is there
        pictures, labels = cells[split]
        order = np.arange(len(labels))
        if split == "train":
            order = np.random.default_rng(seed).permutation(len(labels))[:images]
        rows = {"img": [pictures[at] for at in order], "label": labels[order].tolist()}
        table = datasets.Dataset.from_dict(rows, features=features)
        replace_atomic(done / f"{split}.parquet", table.to_parquet)
    return done


class Bench:
    """A network, its data and its target, made when first asked for.

    Args:
        setting: what both sides are given.
        name: name of the network.
        folder: folder of all results.
    """

    def __init__(self, setting: Setting, name: str, folder: Path) -> None:
        self.setting, self.name, self.all = setting, name, folder
        self.folder = folder / name

    @cached_property
    def source(self) -> str:
        """The images that everything is trained on, as compress-model takes them."""
        return str(subset(Path(self.setting.data), self.setting.images, self.setting.seed, self.all))

    @property
    def options(self) -> Options:
        """Settings of compress-model; all that is not here is left as it comes."""
        return Options(
            name=self.name,
            input_shape=SHAPE,
            crop_padding=4,
            flip=True,
            epochs=self.setting.epochs,
            seed=self.setting.seed,
        )

    def fresh(self) -> nn.Module:
        """The network with its first values."""
        torch.manual_seed(self.setting.seed)
        return NETWORKS[self.name](SHAPE, 10)

    @cached_property
    def recipe(self) -> Recipe:
        """What compress-model reads of the options."""
        return self.options.recipe(self.source, self.fresh())

    @cached_property
    def data(self) -> RunData:
        """The images, decoded once for all networks."""
        return data_of(self.recipe, self.options, self.all, Console())

    @cached_property
    def training(self) -> TrainingData:
        """The same as the training loop takes them."""
        return training_data(self.data, self.recipe.train, torch.device("cpu"))

    @cached_property
    def target(self) -> Target:
        """What files are made for and timed on."""
        return open_target(load_profile(self.options.profile))

    def settings(self, epochs: int) -> TrainSettings:
        """How a network that was trained before is trained further: as compress-model does it."""
        return finetune_settings(self.recipe, epochs)

    def base(self) -> nn.Module:
        """The trained network that is compressed; trained once, and then read."""
        network, file = self.fresh(), self.folder / "base.safetensors"
        if not file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            finetune(
                network,
                self.training,
                by_hand(self.setting.base_epochs, "auto"),
                seed=self.setting.seed,
                checkpoint=self.folder / "checkpoint.safetensors",
            )
            replace_atomic(file, lambda part: safetensors.torch.save_model(network, str(part)))
        safetensors.torch.load_model(network, str(file))
        return network.eval()

    def exported(self) -> Path:
        """The file of the network as it is; both sides are to be as many times as fast."""
        file = self.folder / "given.onnx"
        if not file.exists():
            self.target.export(self.base(), SHAPE, file)
        return file

    def accuracy(self, file: Path, split: Split) -> float:
        """Top-1 accuracy in [0, 1] of a file, run in the target's runtime."""
        return top1(self.target.run(file, self.data.images(split).numpy()), split.labels.numpy())
