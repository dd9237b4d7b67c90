"""A network of a space trained alone: what a supernet's ranking and accuracies are judged against.

It is a supernet of one network, trained with the supernet's loop: data order, augmentation, optimizer,
average and checkpoints are those that the supernet's networks see.
"""

from __future__ import annotations

from pathlib import Path

from nas.rules.moment import Moment, Pass
from nas.supernet.supernet import Supernet
from runners.training.batches import TrainingData
from runners.training.loop import train
from runners.training.settings import TrainSettings
from runners.training.trainable import SharedWeights
from runners.training.watch import SILENT, Watch
from search_spaces.space import Arch, SearchSpace


def train_alone(
    space: SearchSpace,
    arch: Arch,
    data: TrainingData,
    settings: TrainSettings,
    *,
    seed: int,
    checkpoint: Path | None = None,
    watch: Watch = SILENT,
) -> Supernet:
    """Trains one network from scratch on labels, going on from the checkpoint if there is one.

    Args:
        space: space of the network.
        arch: arch of the network.
        data: what it is trained on; training runs on the device of the images.
        settings: how it is trained; the supernet's for a fair comparison.
        seed: seed of first values, data order and augmentation.
        checkpoint: file to go on from and to write; None keeps nothing.
        watch: who follows the training.

    Returns:
        A supernet of that network alone.

    Raises:
        DivergedError: a loss or the gradient is not finite.
        ValueError: no arch of the space, or a checkpoint that is damaged or another network's.
    """
    network = Supernet(space.only(arch), seed=seed, device=data.images.device)
    return train(
        SharedWeights(network),
        data,
        settings,
        rule=alone,
        seed=seed,
        checkpoint=checkpoint,
        watch=watch,
    )


def alone(moment: Moment) -> list[Pass]:
    """The training rule of a space of one network: the network on the labels."""
    return [Pass(arch=moment.space.smallest())]
