"""Groups of channels that can be cut from a network, found out by trying.

torch-pruning's graph cannot know everything that a ``forward`` does with channels (heads of a fixed size, a
reshape, a sum of neighbours). So each group is tried on a copy with random weights: the cut network must
equal the network with the same channels masked. A group that only passes in runs of 16 channels is cut in
runs of 16; one that never passes is left alone and the reason is kept.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compress.pruning.channels import Cut, cut_channels, dependency_graph, mask, pruning_group

_TOLERANCE = 1e-6  # of the largest output, in float64: rounding is far below it, a wrong channel far above
_LONGEST_RUN = 256
_OUTPUTS = "they are the network's outputs"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelGroup:
    """Channels that run through several layers and can only be cut from all of them at once.

    Attributes:
        root: name of the layer whose output channels number the group's.
        channels: how many there are.
        run: they can be cut only in whole, aligned runs of this many (the size of an attention head).
    """

    root: str
    channels: int
    run: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A group that is left alone.

    Attributes:
        root: name of its leading layer.
        channels: how many it has.
        reason: reason in words.
    """

    root: str
    channels: int
    reason: str


def channel_groups(
    network: nn.Module, example: Tensor, *, ignore: Collection[str] = ()
) -> tuple[list[ChannelGroup], list[Refused]]:
    """The groups whose channels can be cut, each tried, and those that cannot, each with the reason.

    Args:
        network: any module.
        example: an input (B, ...).
        ignore: names of layers (or of modules that hold them) whose output channels stay.

    Raises:
        ValueError: the network does not run on the example.
    """
    trial = _Trial(network, example)
    found = trial.groups(ignore)
    plain = [group for group in found if not trial.reshapes(group) and not trial.normalises(group)]
    proven = set() if trial.problem([_middle_run(group) for group in plain]) else {g.root for g in plain}
    groups: list[ChannelGroup] = []
    refused: list[Refused] = []
    likely: list[int] = []  # runs that other groups needed: heads are of one size in most networks
    for group in found:
        if group.root in proven:
            groups.append(group)
            continue
        outcome = _try_runs(trial, group, likely)
        if isinstance(outcome, Refused):
            refused.append(outcome)
            continue
        groups.append(outcome)
        if outcome.run > 1 and outcome.run not in likely:
            likely.append(outcome.run)
    return groups, refused


def why_not(network: nn.Module, example: Tensor, cuts: Sequence[Cut]) -> str:
    """What is wrong with those cuts, in words; nothing if the cut network equals the masked one.

    It is tried on a copy with random weights in float64, so that equality is not for want of a difference.
    """
    return _Trial(network, example).problem(cuts)


class _Trial:
    """A copy of a network, its weights random, on which cuts are compared with masks."""

    def __init__(self, network: nn.Module, example: Tensor) -> None:
        dependency_graph(copy.deepcopy(network), example)  # a wrong example is reported in its own shape
        self._network = _randomised(network).eval()
        generator = torch.Generator().manual_seed(1)
        self._images = torch.randn(2, *example.shape[1:], generator=generator, dtype=torch.float64)
        self._graph = dependency_graph(self._network, self._images)

    def groups(self, ignore: Collection[str]) -> list[ChannelGroup]:
        """All groups of channels, for the time being in runs of one."""
        names = {module: name for name, module in self._network.named_modules()}
        ignored = [
            module
            for module, name in names.items()
            if any(name == prefix or name.startswith(f"{prefix}.") for prefix in ignore)
        ]
        roots = [group[0] for group in self._graph.get_all_groups(ignored_layers=ignored)]
        return [
            ChannelGroup(root=names[dependency.target.module], channels=len(indices))
            for dependency, indices in roots
            if len(indices) > 1
        ]

    def reshapes(self, group: ChannelGroup) -> bool:
        """Whether the channels pass through a reshape, which may hold their number."""
        kinds = self._graph.ops.OPTYPE
        return any(
            dependency.target.type in (kinds.RESHAPE, kinds.EXPAND, kinds.UNBIND)
            for dependency, _ in self._parts([_middle_run(group)])
        )

    def normalises(self, group: ChannelGroup) -> bool:
        """Whether a norm averages over the channels: it sees a mask's zeros, so a cut rightly differs."""
        return self._normalises([_middle_run(group)])

    def problem(self, cuts: Sequence[Cut]) -> str:
        """What is wrong with those cuts, in words; nothing if the cut network equals the masked one."""
        try:
            cut = cut_channels(self._network, self._images, cuts)(self._images)
        except Exception as error:  # whatever the user's forward raises when its shapes do not fit
            return f"the network does not run without them ({str(error).splitlines()[0]})"
        masked = self._masked_output(cuts)
        if cut.shape != masked.shape:
            return _OUTPUTS
        if self._normalises(cuts):
            return ""
        if (cut - masked).abs().max() > _TOLERANCE * masked.abs().max():
            return "cutting them changes the network differently from masking them"
        return ""

    def _parts(self, cuts: Iterable[Cut]) -> list[tuple[Any, list[int]]]:
        return [part for cut in cuts for part in pruning_group(self._graph, self._network, cut)]

    def _normalises(self, cuts: Iterable[Cut]) -> bool:
        norms = (nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)
        return any(isinstance(dependency.target.module, norms) for dependency, _ in self._parts(cuts))

    def _masked_output(self, cuts: Sequence[Cut]) -> Tensor:
        whole = {name: tensor.detach().clone() for name, tensor in self._network.state_dict().items()}
        mask(self._parts(cuts))
        with torch.no_grad():
            output: Tensor = self._network(self._images)
        self._network.load_state_dict(whole)
        return output


def _try_runs(trial: _Trial, group: ChannelGroup, likely: Sequence[int]) -> ChannelGroup | Refused:
    """The group in the shortest runs that pass, after those that other groups needed."""
    divisors = [n for n in range(1, min(group.channels // 2, _LONGEST_RUN) + 1) if group.channels % n == 0]
    first_problem = ""
    for run in [1, *(n for n in likely if n in divisors), *divisors[1:]]:
        tried = ChannelGroup(root=group.root, channels=group.channels, run=run)
        problem = trial.problem([_middle_run(tried)])
        if not problem:
            return tried
        first_problem = first_problem or problem
        if problem == _OUTPUTS:
            break
    return Refused(root=group.root, channels=group.channels, reason=first_problem)


def _middle_run(group: ChannelGroup) -> Cut:
    start = group.channels // group.run // 2 * group.run
    kept = tuple(index for index in range(group.channels) if not start <= index < start + group.run)
    return Cut(root=group.root, channels=group.channels, kept=kept)


def _randomised(network: nn.Module) -> nn.Module:
    """A float64 copy with random weights and statistics: a wrong cut cannot hide behind zeros and ones."""
    randomised = copy.deepcopy(network).cpu()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in [*randomised.parameters(), *randomised.buffers()]:
            if not tensor.is_floating_point():
                continue
            if tensor.ndim > 1 and tensor[0].numel() > 1:
                tensor.normal_(0, 1 / math.sqrt(tensor[0].numel()), generator=generator)
            else:
                tensor.uniform_(0.5, 1.5, generator=generator)
    return randomised.double()
