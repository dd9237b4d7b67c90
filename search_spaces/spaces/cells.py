"""The space of NASNet: two cells that are searched step by step, and copies of them.

"Learning Transferable Architectures for Scalable Image Recognition" (Zoph et al., CVPR 2018), section 3 and
appendix A.1. A cell has the results of the two cells before it, and five steps; each takes two earlier
results, changes each by an operation, and adds them. A normal cell keeps the size of maps, a reducing one
halves it and doubles the filters. What is joined at the end is what NASNet-A joins: the earlier of the two
inputs and all steps of a normal cell, all steps but the first of a reducing one; the paper joins whatever no
step took, by which weights would mean other things in every cell.

It is a space that only builds: its cells are graphs, not layers in a row, and every step has its choices, so
that no table of a place could hold all combinations. Its costs are counted from traces.

What differs: maps of another size than those before are halved by averages; every 1x1 convolution of a
concatenation is a sum of one for each part (``Aggregate``), with a norm each, that folds to it; no auxiliary
classifier, and no dropping of paths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor, nn

from search_spaces.blocks.aggregate import Aggregate
from search_spaces.choice import Choice, Value
from search_spaces.parts import ConvNorm
from search_spaces.space import Arch, SearchSpace, Shape

STEPS = 5
OPERATIONS = ("identity", "sep3", "sep5", "sep7", "dil3", "avg3", "max3")
"""Nothing; separable convolutions, twice each; one dilated; average; maximum. By the side of the kernel."""

CELLS = ("normal", "reducing")
STEM_WIDTH = 32
LARGE_SIDE = 128
"""Side of images in pixels from which on the stem reduces thrice, as NASNet's for ImageNet does."""

NASNET_A: Mapping[str, tuple[tuple[int, str, int, str], ...]] = {
    "normal": (
        (0, "sep5", 1, "sep3"),
        (1, "sep5", 1, "sep3"),
        (0, "avg3", 1, "identity"),
        (1, "avg3", 1, "avg3"),
        (0, "sep3", 0, "identity"),
    ),
    "reducing": (
        (0, "sep5", 1, "sep7"),
        (0, "max3", 1, "sep7"),
        (0, "avg3", 1, "sep5"),
        (3, "identity", 2, "avg3"),
        (2, "sep3", 0, "max3"),
    ),
}
"""Earlier results of each step, each with its operation; 0 and 1 are those of the last cells."""


def nasnet_a(*, filters: int = 44, repeats: int = 4) -> dict[str, Value]:
    """The arch of NASNet-A: with 44 filters and 4 repeats the one of 5.3 M parameters and 564 M
    multiply-accumulates (table 3)."""
    arch: dict[str, Value] = {"filters": filters, "repeats": repeats}
    for cell, steps in NASNET_A.items():
        for at, values in enumerate(steps):
            arch |= zip(_names(cell, at), values, strict=True)
    return arch


def nasnet(*, classes: int, input_shape: Shape) -> SearchSpace:
    """The space, for ``space.module = "search_spaces.spaces.cells:nasnet"`` in a recipe.

    Args:
        classes: outputs.
        input_shape: (C, H, W) of one image.
    """
    choices = [Choice("filters", (24, 32, 44)), Choice("repeats", (1, 2, 4), role="depth")]
    for cell in CELLS:
        for at in range(STEPS):
            earlier = tuple(range(at + 2))
            first, change_first, second, change_second = _names(cell, at)
            choices += [
                Choice(first, earlier, role="category"),
                Choice(change_first, OPERATIONS),
                Choice(second, earlier, role="category"),
                Choice(change_second, OPERATIONS),
            ]
    build = partial(CellNetwork, classes=classes, input_shape=input_shape)
    return SearchSpace("nasnet", choices, build, input_shape=input_shape)


def _names(cell: str, at: int) -> tuple[str, str, str, str]:
    """Choices of a step: its two inputs, each with its operation."""
    step = f"{cell}.step{at}"
    return f"{step}.first", f"{step}.change_first", f"{step}.second", f"{step}.change_second"


class SeparableTwice(nn.Module):
    """Twice ReLU, depthwise convolution and 1x1 convolution with its norm; the first has the stride."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.act = nn.ReLU()
        padding = kernel // 2
        self.spread = nn.Conv2d(channels, channels, kernel, stride, padding, groups=channels, bias=False)
        self.mix = ConvNorm(channels, channels)
        self.spread_again = nn.Conv2d(channels, channels, kernel, 1, padding, groups=channels, bias=False)
        self.mix_again = ConvNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mix(self.spread(self.act(x)))
        result: Tensor = self.mix_again(self.spread_again(self.act(x)))
        return result


def operation(name: str, channels: int, stride: int) -> nn.Module:
    """One of ``OPERATIONS``: (B, C, H, W) -> (B, C, H / stride, W / stride)."""
    if name == "identity":
        mixed = nn.Sequential(nn.ReLU(), ConvNorm(channels, channels, stride=stride))
        return mixed if stride > 1 else nn.Identity()
    side = int(name[3:])
    if name.startswith("sep"):
        return SeparableTwice(channels, side, stride)
    if name == "dil3":
        return nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, stride, 2, dilation=2, groups=channels, bias=False),
            ConvNorm(channels, channels),
        )
    if name == "max3":
        return nn.MaxPool2d(3, stride, 1)
    return nn.AvgPool2d(3, stride, 1, count_include_pad=False)


class Cell(nn.Module):
    """One cell on the parts of the two results before it; gives its own parts.

    Args:
        last: channels of each part of the last cell's result, by name.
        before: channels of each part of the last but one, likewise.
        halved: whether the maps of the last but one are twice as large.
        channels: filters of this cell.
        steps: inputs and operations of each step, as ``NASNET_A`` has them.
        stride: 2 of a reducing cell, else 1.
    """

    def __init__(
        self,
        last: Mapping[str, int],
        before: Mapping[str, int],
        *,
        halved: bool,
        channels: int,
        steps: Sequence[tuple[int, str, int, str]],
        stride: int,
    ) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.last = Aggregate(last, channels)
        self.before = Aggregate(before, channels)
        self.halve = nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False) if halved else nn.Identity()
        self.taken = [(first, second) for first, _, second, _ in steps]
        # Weights belong to an operation on one of the earlier results, at one of the two places of a step.
        self.steps = nn.ModuleList(
            nn.ModuleDict(
                {
                    f"{place}_{name}_of{source}": operation(name, channels, stride if source < 2 else 1)
                    for place, source, name in (("first", *step[:2]), ("second", *step[2:]))
                }
            )
            for step in steps
        )
        self.first_kept = 1 if stride == 1 else 3
        self.parts = dict.fromkeys((f"from{at}" for at in range(self.first_kept, STEPS + 2)), channels)

    def forward(self, last: list[Tensor], before: list[Tensor]) -> list[Tensor]:
        found = [
            self.last([self.act(part) for part in last]),
            self.before([self.halve(self.act(part)) for part in before]),
        ]
        for (first, second), changes in zip(self.taken, self.steps, strict=True):
            one, other = changes.values()  # type: ignore[operator]
            found.append(one(found[first]) + other(found[second]))
        return found[self.first_kept :]


class CellNetwork(nn.Module):
    """A stem, three rows of normal cells with a reducing one between, and a classifier of the mean.

    Args:
        arch: filters of the first row, normal cells in a row, and the steps of both cells.
        classes: outputs.
        input_shape: (C, H, W) of one image.
    """

    def __init__(self, arch: Arch, *, classes: int, input_shape: Shape) -> None:
        super().__init__()
        self.large = min(input_shape[1:]) >= LARGE_SIDE
        filters, repeats = int(arch["filters"]), int(arch["repeats"])
        plan = (
            [("stem0", "reducing", filters // 4), ("stem1", "reducing", filters // 2)] if self.large else []
        )
        for row in range(3):
            width = filters * 2**row
            plan += [(f"reduce{row}", "reducing", width)] if row else []
            plan += [(f"row{row}_cell{at}", "normal", width) for at in range(repeats)]
        self.stem = ConvNorm(input_shape[0], STEM_WIDTH, 3, stride=2 if self.large else 1)
        last = before = {"stem": STEM_WIDTH}
        halved = False
        self.cells = nn.ModuleDict()
        for name, kind, width in plan:
            steps = [tuple(arch[one] for one in _names(kind, at)) for at in range(STEPS)]
            stride = 2 if kind == "reducing" else 1
            cell = Cell(last, before, halved=halved, channels=width, steps=steps, stride=stride)  # type: ignore[arg-type]
            self.cells[name] = cell
            last, before, halved = cell.parts, last, stride == 2
        self.act = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classify = nn.ModuleDict({name: nn.Linear(width, classes) for name, width in last.items()})

    def forward(self, x: Tensor) -> Tensor:
        last = before = [self.stem(x)]
        for cell in self.cells.values():
            last, before = cell(last, before), last
        scores = [
            classify(self.pool(self.act(part)).flatten(1))
            for classify, part in zip(self.classify.values(), last, strict=True)
        ]
        total: Tensor = scores[0]
        for score in scores[1:]:
            total = total + score
        return total
