"""A network of a space trained alone: what a supernet's ranking and accuracies are judged against.

It is a supernet of one network, trained with the supernet's loop: data order, augmentation, optimizer,
average and checkpoints are those that the supernet's largest subnet sees.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from nas.rules.moment import Moment, Pass
from nas.supernet.supernet import Supernet
from runners.training.batches import Prepare
from runners.training.loop import TrainSettings, train_supernet
from runners.training.mixing import Mix
from search_spaces.space import Arch, SearchSpace


def train_alone(
    space: SearchSpace,
    arch: Arch,
    images: Tensor,
    labels: Tensor,
    prepare: Prepare,
    settings: TrainSettings,
    *,
    seed: int,
    checkpoint: Path,
    on_step: Callable[[int, int], None] = lambda done, total: None,
    mix: Mix | None = None,
) -> Supernet:
    """Trains one network from scratch on labels, going on from the checkpoint if there is one.

    Args:
        space: the network's.
        arch: of the network.
        images: (N, C, H, W) as stored; training runs on their device.
        labels: (N,), int64.
        prepare: makes stored images into network input.
        settings: of the training; those of the supernet for a fair comparison.
        seed: of first values, data order and augmentation.
        checkpoint: file to go on from and to write; left in place at the end.
        on_step: called with (steps done, steps in all).
        mix: mixes the images of a batch; None leaves them.

    Returns:
        A supernet of that network alone.

    Raises:
        DivergedError: the loss is not finite.
        ValueError: no arch of the space, or a checkpoint that is damaged or another network's.
    """
    network = Supernet(space.only(arch), seed=seed, device=images.device)
    return train_supernet(
        network,
        images,
        labels,
        prepare,
        _alone,
        settings,
        seed=seed,
        checkpoint=checkpoint,
        on_step=on_step,
        on_epoch=lambda summary, network: None,
        mix=mix,
    )


def _alone(moment: Moment) -> list[Pass]:
    return [Pass(arch=moment.space.largest())]
