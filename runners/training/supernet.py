"""The training of a supernet as every process of it runs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from nas.rules.moment import Rule, Size
from nas.supernet.supernet import Supernet
from runners.tasks import CLASSIFICATION, Task
from runners.training.batches import Prepare, TrainingData
from runners.training.loop import train
from runners.training.mixing import Mix
from runners.training.ranks import ALONE, Ranks
from runners.training.settings import TrainSettings
from runners.training.trainable import SharedWeights
from runners.training.watch import SILENT, Watch
from search_spaces.space import SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class SupernetTraining:
    """How a supernet is trained, all but the images: it is sent to the processes that train together.

    Attributes:
        space: Space whose networks share the weights.
        rule: Training rule: which subnets run in a step.
        settings: Settings of the loop.
        seed: Seed of first values, data order, augmentation and sampling.
        prepare: Makes stored images into network input.
        mix: Mixes the images of a batch; None leaves them.
        task: What the networks are trained for.
        balance: How evenly classes are drawn; see ``TrainingData``.
        size: Size of archs, for rules that draw by it; None lets them draw every choice uniformly.
        own_norms: Scales and shifts of norms of their own for each width.
    """

    space: SearchSpace
    rule: Rule
    settings: TrainSettings
    seed: int
    prepare: Prepare
    mix: Mix | None = None
    task: Task = CLASSIFICATION
    balance: float = 0.0
    size: Size | None = None
    own_norms: bool = False

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        checkpoint: Path,
        *,
        ranks: Ranks = ALONE,
        watch: Watch = SILENT,
    ) -> Supernet:
        """Trains on the device of the images; see ``runners.training.loop.train``.

        Args:
            images: (N, C, H, W) as stored.
            labels: labels as the task takes them, (N, ...).
            checkpoint: file to go on from and to write.
            ranks: the place of this process among those that train together.
            watch: who follows the training.
        """
        data = TrainingData(
            images=images,
            labels=labels,
            prepare=self.prepare,
            mix=self.mix,
            task=self.task,
            balance=self.balance,
        )
        supernet = Supernet(self.space, seed=self.seed, device=images.device, own_norms=self.own_norms)
        return train(
            SharedWeights(supernet, self.size),
            data,
            self.settings,
            rule=self.rule,
            seed=self.seed,
            checkpoint=checkpoint,
            watch=watch,
            ranks=ranks,
        )
