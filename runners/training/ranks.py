"""The processes of a data-parallel training, as each of them sees it: its share, and one sum over all.

Every process draws the same rule, data order and augmentation from the seed, runs forward and backward on its
share of each batch, and has the same gradient after the sum; so every process makes the same update, and none
has to be told the weights. BatchNorm takes its batch statistics over the share, process by process.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch.distributed as dist
from torch import Tensor


class LostProcessError(ConnectionError):
    """A process of a data-parallel training is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """The place of this process among those that train together.

    Attributes:
        rank: Number of this process, counted from 0; process 0 writes files and is watched.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    def share(self, batch: Tensor) -> Tensor:
        """This process's part of a batch, (N / size, ...).

        Raises:
            ValueError: N is no multiple of the size; the mean of the parts' means would be another.
        """
        if len(batch) % self.size:
            raise ValueError(
                f"a batch of {len(batch)} images has no equal parts for {self.size} processes; set "
                f"train.batch_size to a multiple of train.processes, and no larger than the training split"
            )
        return batch if self.size == 1 else batch.chunk(self.size)[self.rank]

    def average(self, gradients: Sequence[Tensor], losses: Tensor) -> Tensor:
        """Makes gradients and losses those of the whole batch, in every process.

        Args:
            gradients: changed in place; the same ones in the same order in every process.
            losses: (passes,), means over this process's share.

        Returns:
            The losses, means over the whole batch.

        Raises:
            LostProcessError: another process is gone.
        """
        if self.size == 1:
            return losses
        losses = losses.clone()
        try:
            for tensor in (*gradients, losses):
                dist.all_reduce(tensor)
                tensor.div_(self.size)
            return losses
        except RuntimeError as error:
            raise LostProcessError(
                f"a process of the training does not answer ({str(error).splitlines()[0]})"
            ) from error


ALONE = Ranks()


def threads_each(size: int) -> int:
    """CPU threads for each of the processes that share a machine."""
    return max(1, (os.cpu_count() or 1) // size)
