"""A step of the sandwich in each of two processes: what the second runs. It is spawned, so imports little."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from nas.rules.moment import Pass
from nas.supernet.supernet import Supernet
from runners.training.passes import run_passes
from runners.training.ranks import Ranks
from runners.training.trainable import SharedWeights
from search_spaces.choice import Choice
from search_spaces.space import Arch, SearchSpace


class Plain(nn.Module):
    """A network without BatchNorm, whose statistics are those of a process's share."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        width = int(arch["width"])
        self.enter = nn.Conv2d(1, width, 3, padding=1)
        self.norm = nn.GroupNorm(1, width)
        self.middle = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.enter(x)))
        return self.head(torch.relu(self.middle(x)).mean(dim=(2, 3)))


def plain_space() -> SearchSpace:
    return SearchSpace("plain", [Choice("width", (8, 12, 16))], Plain, input_shape=(1, 8, 8))


SANDWICH = [
    Pass(arch={"width": 16}),
    Pass(arch={"width": 8}, teacher=0),
    Pass(arch={"width": 12}, teacher=0, weight=0.5),
]
DISTILLATIONS = ("kl", "alpha")


def gradients(ranks: Ranks) -> dict[str, tuple[dict[str, Tensor], list[float]]]:
    """The gradient and the losses of a sandwich on 16 images, by distillation."""
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(16, 1, 8, 8, generator=generator)
    labels = torch.randint(10, (16,), generator=generator)
    found = {}
    for distillation in DISTILLATIONS:
        supernet = Supernet(plain_space(), seed=1)
        shared = SharedWeights(supernet)
        losses, _ = run_passes(
            shared, ranks.share(images), ranks.share(labels), SANDWICH, distillation=distillation
        )
        losses = ranks.average(shared.gradients(), losses).tolist()
        found[distillation] = supernet.grad, losses
    return found


def second_rank(port: int, told: Any) -> None:
    """Joins the group as rank 1 and tells what it has in the end."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", store=dist.TCPStore("127.0.0.1", port, 2, is_master=False), rank=1, world_size=2
    )
    found = gradients(Ranks(rank=1, size=2))
    told.put(
        {
            key: ({group: tensor.numpy() for group, tensor in grad.items()}, losses)
            for key, (grad, losses) in found.items()
        }
    )
    dist.destroy_process_group()
