"""What a subnet costs beyond the same static network: building it, and a training step.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.supernet_overhead [--only PART] [--pairs 60]
        [--side 128] [--batch 8] [--spaces vit,resnet50d]

First table: milliseconds to build a subnet of 16 blocks, or of a published space, one whose arch was seen
before and one whose was not, beside the plain constructor; of several rounds the one in which the
constructor was fastest. Second table: for the smallest, a median and the largest network of three spaces,
and for the base network of published ones (``--batch`` images of ``--side`` pixels), the time of a training
step on the subnet over that on the static network: forward and backward alone, and with the optimizer,
which then holds the whole shared weights on one side and a static network as big as the largest on the
other. Ratios are medians over interleaved pairs of steps, with their quartiles. All times are of the
processor, on one thread, so that what others do on the machine counts little; it takes some minutes. Third
table: seconds to cost a million archs of published spaces by a latency table, at one resolution and at
four.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.supernet.supernet import Supernet
from results.names import unknown
from search_spaces.choice import Choice
from search_spaces.space import Arch, SearchSpace
from search_spaces.spaces.known import KNOWN
from search_spaces.spaces.metaformer import Stage, metaformer
from search_spaces.spaces.presets import preset
from tests.spaces import BasicBlock, VitBlock, resnet_space

_PAIRS = 60
_BATCH = 64
_DRAWN = 21
_ROUNDS = 3
_COSTED = 100_000
PUBLISHED = ("mobilenetv3", "efficientnet-b0", "resnet50d", "vit", "swin-t")
TABLES = ("building", "steps", "costing")
_SMALL: dict[str, Callable[[], SearchSpace]] = {
    "digits": partial(preset, "digits", classes=10, input_shape=(1, 8, 8)),
    "cifar-small": partial(preset, "cifar-small", classes=10, input_shape=(3, 32, 32)),
    "resnet": resnet_space,
}
_STEPPED = (*_SMALL, *PUBLISHED)


def main(arguments: list[str] | None = None) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=TABLES, help="table to print; all by default")
    parser.add_argument("--pairs", type=int, default=_PAIRS, help="pairs of steps for each network")
    parser.add_argument("--side", type=int, default=128, help="side of the images of published spaces")
    parser.add_argument("--batch", type=int, default=8, help="images in a step of published spaces")
    parser.add_argument("--spaces", type=_names, default=_STEPPED, help="spaces of the steps, with commas")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if given.only in (None, "building"):
        _print_building()
    if given.only in (None, "steps"):
        _print_steps(given.spaces, given.pairs, given.side, given.batch)
    if given.only in (None, "costing"):
        _print_costing()


def _print_building() -> None:
    print("milliseconds to build, median [quartiles] over networks")
    print(
        f"{'network of 16 blocks':22} {'modules':>7} {'seen before':>20} {'not seen':>20} {'constructor':>12}"
    )
    for name, space in (
        ("MetaFormer", _metaformer16()),
        ("MetaFormer, attention", _metaformer16(("attention",))),
        ("user's ResNet", _user16(BasicBlocks)),
        ("user's ViT", _user16(Vit)),
        *((name, preset(name, classes=10, input_shape=(3, 32, 32))) for name in ("mobilenetv3", "vit")),
    ):
        rounds = [building_ms(space) for _ in range(_ROUNDS)]
        again, first, plain, modules = min(rounds, key=lambda found: float(np.median(found[2])))
        print(
            f"{name:22} {modules:7} {_spread(again, 2):>20} {_spread(first, 2):>20} {np.median(plain):12.2f}"
        )


def _names(text: str) -> tuple[str, ...]:
    found = tuple(filter(None, text.split(",")))
    for name in found:
        if name not in _STEPPED:
            raise argparse.ArgumentTypeError(unknown("space", name, _STEPPED))
    return found


def _print_steps(names: Sequence[str], pairs: int, side: int, batch: int) -> None:
    print("\nsubnet over static network, median [quartiles] of interleaved pairs")
    print(f"{'space':15} {'network':9} {'ms':>7} {'forward + backward':>22} {'with optimizer':>22}")
    for name in names:
        if name in PUBLISHED:
            space = preset(name, classes=10, input_shape=(3, side, side))
            _print_step(name, "base", step_ratios(space, KNOWN[name].base, pairs, batch))
            continue
        space = _SMALL[name]()
        for label, arch in archs(space).items():
            _print_step(name, label, step_ratios(space, arch, pairs, _BATCH))


def _print_step(space: str, network: str, found: tuple[np.ndarray, np.ndarray, float]) -> None:
    passes, steps, seconds_each = found
    told = f"{_spread(passes, 3):>22} {_spread(steps, 3):>22}"
    print(f"{space:15} {network:9} {seconds_each * 1e3:7.1f} {told}", flush=True)


def _print_costing() -> None:
    print("\nseconds to cost a million archs")
    for name in PUBLISHED:
        for resolutions in ((), (128, 160, 192, 224)):
            space = preset(name, classes=10, input_shape=(3, 224, 224), resolutions=resolutions)
            rows = space.sample(_COSTED, np.random.default_rng(0))
            per_layer = np.ones(len(space.layers))
            space.sum_over_layers(rows[:1], per_layer)
            took = seconds(partial(space.sum_over_layers, rows, per_layer)) * 1e6 / _COSTED
            print(
                f"{name:15} {max(1, len(resolutions))} resolutions, {len(space.layers):4} layers: {took:.2f}"
            )


def _spread(values: np.ndarray, digits: int) -> str:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"{middle:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


# -- spaces of 16 blocks --------------------------------------------------------------------------


def _metaformer16(
    mixers: tuple[str, ...] = ("identity", "pooling", "attention", "depthwise"),
) -> SearchSpace:
    widths = ((32, 48, 64), (64, 96, 128), (128, 192, 256), (192, 256, 384))
    stages = [Stage(widths=each, depths=(4,), mixers=mixers) for each in widths]
    return metaformer("metaformer16", stages, classes=10, input_shape=(3, 64, 64))


class BasicBlocks(nn.Module):
    """A ResNet whose every block has its kernel and expansion."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        width = int(arch["width"])
        self.stem = nn.Conv2d(3, width, 3)
        self.blocks = nn.Sequential(
            *(
                BasicBlock(width, width * int(arch[f"wide{i}"]), width, 1 + 2 * int(arch[f"narrow{i}"]), 1)
                for i in range(16)
            )
        )
        self.head = nn.Linear(width, 10)


class Vit(nn.Module):
    """A ViT whose every block has its heads and ratio."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        width = int(arch["width"])
        self.stem = nn.Conv2d(3, width, 4, 4)
        self.blocks = nn.Sequential(
            *(VitBlock(width, int(arch[f"narrow{i}"]), int(arch[f"wide{i}"])) for i in range(16))
        )
        self.head = nn.Linear(width, 10)


def _user16(build: Callable[[Arch], nn.Module]) -> SearchSpace:
    choices = [Choice("width", (16, 32, 48))]
    for block in range(16):
        choices += [Choice(f"narrow{block}", (1, 2, 4)), Choice(f"wide{block}", (1, 2))]
    return SearchSpace(build.__name__, choices, build, input_shape=(3, 32, 32))


# -- measuring ------------------------------------------------------------------------------------


def building_ms(space: SearchSpace) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Milliseconds for subnets seen before, not seen before, and by the constructor; modules of the last."""
    supernet = Supernet(space)
    again, first, plain = [], [], []
    for row in space.sample(_DRAWN, np.random.default_rng(1)):
        arch = space.to_arch(row)
        first.append(seconds(partial(supernet.subnet, arch)))
        again += [seconds(partial(supernet.subnet, arch)) for _ in range(9)]
        plain.append(seconds(partial(space.build, arch)))
    modules = len(list(supernet.subnet(arch).modules()))
    return np.array(again) * 1e3, np.array(first) * 1e3, np.array(plain) * 1e3, modules


def archs(space: SearchSpace) -> dict[str, Arch]:
    """The smallest, the largest, and the one with the median number of parameters of 21 random ones."""
    drawn = [space.to_arch(row) for row in space.sample(_DRAWN, np.random.default_rng(0))]
    drawn.sort(key=lambda arch: sum(p.numel() for p in space.build(arch).parameters()))
    return {"smallest": space.smallest(), "median": drawn[_DRAWN // 2], "largest": space.largest()}


def step_ratios(
    space: SearchSpace, arch: Arch, pairs: int, batch: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Subnet over static for each pair, forward and backward and the whole step; seconds of a static step."""
    supernet = Supernet(space)
    subnet, static, largest = supernet.subnet(arch), supernet.extract(arch), supernet.extract(space.largest())
    images = torch.randn(batch, *space.input_shape(arch))
    used = {name for name, _ in subnet.named_parameters()}
    shared = torch.optim.AdamW(supernet.optimizer_groups(0.05), fused=True)
    # The static side steps a network as big as the largest, which is what the shared weights are.
    alone = torch.optim.AdamW(largest.parameters(), weight_decay=0.05, fused=True)
    for parameter in largest.parameters():
        parameter.grad = torch.randn_like(parameter)

    def on_subnet() -> float:
        supernet.zero_grad()
        passes = seconds(lambda: loss(subnet, images).backward())
        supernet.expose_gradients(used)
        shared.step()
        return passes

    def on_static() -> float:
        static.zero_grad()
        passes = seconds(lambda: loss(static, images).backward())
        alone.step()
        return passes

    works = (on_subnet, on_static)
    timed = []
    for pair in range(-3, pairs):
        taken = {work: _timed(work) for work in works[:: 1 if pair % 2 else -1]}
        if pair >= 0:  # the first ones warm up
            timed.append([*taken[on_subnet], *taken[on_static]])
    passes, step, static_passes, static_step = np.array(timed).T
    return passes / static_passes, step / static_step, float(np.median(static_step))


def _timed(work: Callable[[], float]) -> tuple[float, float]:
    """The seconds of the processor that the work tells, and those it takes."""
    began = time.process_time()
    told = work()
    return told, time.process_time() - began


def loss(network: nn.Module, images: Tensor) -> Tensor:
    """Some loss with gradients everywhere."""
    return F.log_softmax(network(images).flatten(1), dim=1).square().mean()


def seconds(work: Callable[[], object]) -> float:
    """What a call takes of the processor; throwing its result away comes after."""
    began = time.process_time()
    result = work()
    took = time.process_time() - began
    del result
    return took


if __name__ == "__main__":
    main()
