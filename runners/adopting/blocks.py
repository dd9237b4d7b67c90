"""Blocks that a network can do without, and kernels that can be smaller."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from torch import nn

from compress.pruning.groups import Refused
from runners.adopting.experiment import Experiment

_FLOATS = re.compile(r"\d*\.\d+(e-?\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Equal blocks one after another.

    Attributes:
        holder: name of the module that holds them; empty for the network.
        blocks: their names, in order.
    """

    holder: str
    blocks: tuple[str, ...]


def find_chains(experiment: Experiment) -> tuple[list[Chain], list[Refused]]:
    """Runs of equal blocks of which the last can be left out, and those of which they cannot.

    Blocks are children of an ``nn.Sequential`` or ``nn.ModuleList`` that have children themselves, and are
    equal where classes, sizes and shapes of weights are; random rates may differ. Of blocks that two of these
    hold, only the first is asked about.
    """
    chains, refused = [], []
    for chain in _runs(experiment.traced.network):
        for left in sorted({1, len(chain.blocks) - 1}, reverse=True):
            problem = experiment.problem({}, dropped=chain.blocks[left:])
            if problem:
                blocks = f"{chain.blocks[0]} to {chain.blocks[-1]}"
                refused.append(Refused(root=blocks, channels=len(chain.blocks), reason=problem))
                break
        else:
            chains.append(chain)
    return chains, refused


def _runs(network: nn.Module) -> Iterator[Chain]:
    known = dict(network.named_modules())  # each under the first of its names
    for holder, module in known.items():
        if not isinstance(module, nn.Sequential | nn.ModuleList):
            continue
        prefix = f"{holder}." if holder else ""
        for signature, children in groupby(module.named_children(), key=lambda one: _signature(one[1])):
            names = tuple(f"{prefix}{name}" for name, _ in children)
            if signature and len(names) > 1 and known.keys() >= set(names):
                yield Chain(holder=holder, blocks=names)


def _signature(block: nn.Module) -> str:
    """What equal blocks have in common; empty for what is no block."""
    if next(block.children(), None) is None or next(block.parameters(), None) is None:
        return ""
    shapes = [(name, tuple(tensor.shape)) for name, tensor in block.state_dict().items()]
    return f"{type(block).__qualname__} {_FLOATS.sub('', repr(block))} {shapes}"


def find_kernels(experiment: Experiment) -> list[tuple[str, int]]:
    """Names of depthwise convolutions with an odd kernel over 3 that can be cropped, and its side."""
    found = []
    for name, module in experiment.traced.network.named_modules():
        if type(module) not in (nn.Conv1d, nn.Conv2d) or module.groups == 1:
            continue
        side = module.kernel_size[0]
        depthwise = module.groups == module.in_channels == module.out_channels
        odd = side % 2 == 1 and all(one == side for one in module.kernel_size)
        if not depthwise or not odd or side <= 3 or module.padding_mode != "zeros":
            continue
        if not experiment.problem({}, kernels={name: 3}):
            found.append((name, side))
    return found
