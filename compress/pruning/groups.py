"""Channels of a network that can be cut, found out by experiment.

torch-pruning's graph cannot know everything that a ``forward`` does with channels (heads of a fixed size, a
reshape, a sum of neighbours). So each group is tried on a copy with random weights: the cut network must
equal the network with the same channels masked, in numbers. A group that only passes in runs of 16 channels
is cut in runs of 16; one that never passes is left alone and the reason is kept.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.utils import _pytree as trees

from compress.names import within
from compress.plain import plain_copy
from compress.pruning.channels import (
    Cut,
    channels_taken,
    cut_channels,
    dependency_graph,
    group_of,
    pruning_group,
    runs,
)
from compress.pruning.masks import Part, masked, unmaskable

_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4}
"""Difference of outputs that is none, of the largest: rounding is far below it, a wrong channel far above."""
_LONGEST_RUN = 256
OUTPUTS = "they are the network's outputs"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelGroup:
    """Channels that run through several layers and can only be cut from all of them at once.

    Attributes:
        root: name of the layer whose output channels number the group's.
        channels: how many there are.
        run: they can be cut only in whole, aligned runs of this many (the size of an attention head).
        parts: equal parts of which the same runs have to go (3 where queries, keys and values are one layer).
    """

    root: str
    channels: int
    run: int = 1
    parts: int = 1

    @property
    def units(self) -> Tensor:
        """Channels that go together, long (units, run * parts)."""
        return torch.arange(self.channels).reshape(self.parts, -1, self.run).transpose(0, 1).flatten(1)


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
    experiment = _Experiment(network, example)
    found, refused = experiment.groups(ignore)
    plain = [group for group in found if not experiment.reshapes(group)]
    proven = (
        set() if experiment.problem([_middle_unit(group) for group in plain]) else {g.root for g in plain}
    )
    groups: list[ChannelGroup] = []
    likely: list[int] = []  # runs that other groups needed: heads are of one size in most networks
    for group in found:
        if group.root in proven:
            groups.append(group)
            continue
        outcome = _try_runs(experiment, group, likely)
        if isinstance(outcome, Refused):
            refused.append(outcome)
            continue
        groups.append(outcome)
        if outcome.run > 1 and outcome.run not in likely:
            likely.append(outcome.run)
    return groups, refused


def provable(
    network: nn.Module, example: Tensor, cuts: Sequence[Cut]
) -> tuple[tuple[Cut, ...], tuple[Refused, ...]]:
    """Those of the cuts that, together, leave what masking leaves, and the others, each with the reason.

    Raises:
        ValueError: each is right alone and all together are not.
    """
    experiment = _Experiment(network, example)
    if not experiment.problem(cuts):
        return tuple(cuts), ()
    problems = {cut.root: experiment.problem([cut]) for cut in cuts}
    kept = tuple(cut for cut in cuts if not problems[cut.root])
    if problem := experiment.problem(kept):
        raise ValueError(
            f"{type(network).__name__} cannot be pruned: with all channels cut together, {problem}"
        )
    refused = (
        Refused(root=cut.root, channels=cut.channels, reason=problems[cut.root])
        for cut in cuts
        if problems[cut.root]
    )
    return kept, tuple(refused)


class _Experiment:
    """A copy of a network, its weights random, on which cuts are compared with masks."""

    def __init__(self, network: nn.Module, example: Tensor) -> None:
        dependency_graph(plain_copy(network), example)  # a wrong example is reported in its own shape
        self._frozen = _frozen(plain_copy(network))
        self._network, self._images, self._tolerance = random_copy(network, example)
        self._graph = dependency_graph(self._network, self._images)
        self._names = {module: name for name, module in self._network.named_modules()}

    def groups(self, ignore: Collection[str]) -> tuple[list[ChannelGroup], list[Refused]]:
        """All groups of channels, for the time being in runs of one, and those that cannot be followed."""
        ignored = {module for module, name in self._names.items() if within(name, ignore)}
        seen: set[nn.Module] = set()
        found: list[ChannelGroup] = []
        refused: list[Refused] = []
        for module in list(self._graph.module2node):
            if module in seen or module in ignored or not isinstance(module, tp.ops.TORCH_CONV | nn.Linear):
                continue
            name, channels = self._names[module], self._graph.get_out_channels(module)
            try:
                whole = group_of(self._graph, module, range(channels))
                one = group_of(self._graph, module, [channels // 2])
                parts = len(channels_taken(self._graph, one, module))
            except Exception as error:  # torch-pruning raises what it likes on layers that it does not know
                into = _recurrent(self._names)
                reason = f"torch-pruning cannot follow its channels{into} ({in_words(error)})"
                refused.append(Refused(root=name, channels=channels, reason=reason))
                continue
            grown = {
                dependency.target.module
                for dependency, _ in whole
                if self._graph.is_out_channel_pruning_fn(dependency.handler)
            }
            seen |= grown
            if channels < 2 or grown & ignored:
                continue
            group = ChannelGroup(root=name, channels=channels, parts=1 if channels % parts else parts)
            reason = self._held_by_frozen(whole) or unmaskable(whole, self._names)
            if reason:
                refused.append(Refused(root=name, channels=channels, reason=reason))
            else:
                found.append(group)
        return found, refused

    def reshapes(self, group: ChannelGroup) -> bool:
        """Whether the channels pass through a reshape, which may hold their number."""
        kinds = self._graph.ops.OPTYPE
        try:
            parts = self._parts([_middle_unit(group)])
        except ValueError:  # one takes others along: only trying says which may go
            return True
        return group.parts > 1 or any(
            dependency.target.type in (kinds.RESHAPE, kinds.EXPAND, kinds.UNBIND) for dependency, _ in parts
        )

    def problem(self, cuts: Sequence[Cut]) -> str:
        """What is wrong with those cuts, in words; nothing if the cut network equals the masked one."""
        if not cuts:
            return ""
        try:
            cut = cut_channels(self._network, self._images, cuts)
        except Exception as error:  # a cut that takes more than it says, or torch-pruning's own errors
            return f"they cannot be cut ({in_words(error)})"
        try:
            got = self._outputs(cut)
        except Exception as error:  # whatever the user's forward raises when its shapes do not fit
            return f"the network does not run without them ({in_words(error)})"
        try:
            right = self._masked_outputs(cuts)
        except Exception as error:  # an index that a layer does not have, where the graph is wrong
            return f"the network without them cannot be compared with a masked one ({in_words(error)})"
        if [one.shape for one in got] != [one.shape for one in right]:
            return OUTPUTS
        for one, other in zip(got, right, strict=True):
            if not other.isfinite().all():
                return "the network's outputs are not finite with random weights, so nothing can be compared"
            if not equal(one, other, self._tolerance):
                return "cutting them changes the network differently from masking them"
        return ""

    def _parts(self, cuts: Iterable[Cut]) -> list[Part]:
        return [part for cut in cuts for part in pruning_group(self._graph, self._network, cut)]

    def _held_by_frozen(self, parts: Iterable[Part]) -> str:
        names = {self._names.get(dependency.target.module, "") for dependency, _ in parts}
        held = sorted(names & self._frozen)
        return f"the weights of {', '.join(held)} are frozen (requires_grad is False)" if held else ""

    def _masked_outputs(self, cuts: Sequence[Cut]) -> list[Tensor]:
        with masked(self._parts(cuts)):
            return self._outputs(self._network)

    def _outputs(self, network: nn.Module) -> list[Tensor]:
        with torch.no_grad():
            return [one for one in trees.tree_leaves(network(self._images)) if isinstance(one, Tensor)]


def _recurrent(names: dict[nn.Module, str]) -> str:
    """The recurrent layers, which torch-pruning does not know, as a clause; nothing where there are none."""
    found = [f"{name} ({type(one).__name__})" for one, name in names.items() if isinstance(one, nn.RNNBase)]
    return f", which may run into {' and '.join(found)}" if found else ""


def equal(one: Tensor, other: Tensor, tolerance: float) -> bool:
    """Whether two outputs of one shape are equal: within rounding, or exactly where they are no numbers."""
    if other.numel() == 0 or not (other.is_floating_point() or other.is_complex()):
        return torch.equal(one, other)
    return bool((one - other).abs().max() <= tolerance * other.abs().max())


def _try_runs(experiment: _Experiment, group: ChannelGroup, likely: Sequence[int]) -> ChannelGroup | Refused:
    """The group in the shortest runs that pass, after those that other groups needed."""
    each = group.channels // group.parts
    divisors = [n for n in range(1, min(each // 2, _LONGEST_RUN) + 1) if each % n == 0]
    first_problem = "there are too few of them"
    for run in [1, *(n for n in likely if n in divisors), *divisors[1:]]:
        if run not in divisors:
            continue
        tried = ChannelGroup(root=group.root, channels=group.channels, run=run, parts=group.parts)
        problem = experiment.problem([_middle_unit(tried)])
        if not problem:
            return tried
        first_problem = problem if run == 1 else first_problem
        if problem == OUTPUTS:
            break
    return Refused(root=group.root, channels=group.channels, reason=first_problem)


def _middle_unit(group: ChannelGroup) -> Cut:
    units = group.units
    gone = set(units[len(units) // 2].tolist())
    kept = tuple(index for index in range(group.channels) if index not in gone)
    return Cut(root=group.root, channels=group.channels, kept=kept)


def _frozen(network: nn.Module) -> set[str]:
    """Names of a plain copy's modules with a parameter that is not trained; none where no parameter is."""
    if not any(parameter.requires_grad for parameter in network.parameters()):
        return set()
    return {
        name
        for name, module in network.named_modules()
        if any(not parameter.requires_grad for parameter in module.parameters(recurse=False))
    }


def random_copy(network: nn.Module, example: Tensor) -> tuple[nn.Module, Tensor, float]:
    """A copy in eval mode with random weights, inputs for it, and the difference of outputs that is none.

    In float64, or in float32 where its ``forward`` asks for that.
    """
    for dtype in _TOLERANCE:
        copy, images = _randomised(network, dtype).eval(), _random_inputs(example, dtype)
        if runs(copy, images):
            break
    return copy, images, _TOLERANCE[dtype]


def _randomised(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy with random weights and statistics: a wrong cut cannot hide behind zeros and ones."""
    copy = plain_copy(network).cpu().to(dtype)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in [*copy.parameters(), *copy.buffers()]:
            if not tensor.is_floating_point():
                continue
            if tensor.ndim > 1 and tensor[0].numel() > 1:
                tensor.normal_(0, 1 / math.sqrt(tensor[0].numel()), generator=generator)
            else:
                tensor.uniform_(0.5, 1.5, generator=generator)
    return copy


def _random_inputs(example: Tensor, dtype: torch.dtype) -> Tensor:
    """Two inputs: normal numbers, or integers of the example's in another order."""
    generator, shape = torch.Generator().manual_seed(1), (2, *example.shape[1:])
    if example.is_floating_point():
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    values = example.detach().cpu().flatten()
    return values[torch.randint(len(values), shape, generator=generator)]


def in_words(error: Exception) -> str:
    """The first line of what an error says."""
    if isinstance(error, ZeroDivisionError):  # torch-pruning's, where it takes a reshape to leave no channels
        return "torch-pruning makes out no channels at one of its reshapes"
    return (str(error).strip() or type(error).__name__).splitlines()[0]
