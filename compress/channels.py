"""Which channels of a network go together, and cutting or masking them.

torch-pruning's dependency graph (DepGraph, Fang et al., CVPR 2023) says which slices of which layers must
go when one channel goes. It cannot know everything a ``forward`` does with the channels (heads of a fixed
size, a reshape), so each group is tried on a copy with random weights: the cut network must equal the
network with the same channels masked. A group that only passes in runs of 16 channels is cut in runs of
16; one that never passes is left alone and the reason is kept.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from results.records import Record

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
        reason: in words.
    """

    root: str
    channels: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut(Record):
    """What is kept of one group; a sequence of cuts rebuilds a pruned network from the whole one.

    Attributes:
        root: name of the group's leading layer.
        channels: how many it had.
        kept: indices of the channels that stay, ascending.
    """

    root: str
    channels: int
    kept: tuple[int, ...]

    @property
    def dropped(self) -> list[int]:
        """Indices of the channels that go, ascending."""
        return sorted(set(range(self.channels)) - set(self.kept))


def cut_channels(network: nn.Module, example: Tensor, cuts: Iterable[Cut]) -> nn.Module:
    """A copy with those channels removed from every layer they run through.

    Args:
        network: as it was when the cuts were made; it is left untouched.
        example: an input (B, ...).
        cuts: applied in order.

    Raises:
        ValueError: a cut does not belong to this network.
    """
    pruned = copy.deepcopy(network)
    graph = dependency_graph(pruned, example)
    for cut in cuts:
        _group(graph, pruned, cut).prune()
    return pruned


def mask_channels(network: nn.Module, example: Tensor, cuts: Iterable[Cut]) -> nn.Module:
    """A copy of the same shape with those channels set to zero in every layer they run through.

    Raises:
        ValueError: a cut does not belong to this network.
    """
    masked = copy.deepcopy(network)
    graph = dependency_graph(masked, example)
    with torch.no_grad():
        for cut in cuts:
            for dependency, indices in _group(graph, masked, cut):
                _mask(dependency, torch.as_tensor(indices))
    return masked


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
    found = [
        ChannelGroup(root=root, channels=channels) for root, channels in _roots(network, example, ignore)
    ]
    trial, images = _randomised(network), _noise(example)
    groups, refused = [], []
    for group in found:
        reason = ""
        for run in _runs(group.channels):
            tried = ChannelGroup(root=group.root, channels=group.channels, run=run)
            problem = _difference(trial, images, [_middle_run(tried)])
            if not problem:
                groups.append(tried)
                break
            reason = reason or problem
            if problem == _OUTPUTS:
                refused.append(Refused(root=group.root, channels=group.channels, reason=reason))
                break
        else:
            refused.append(Refused(root=group.root, channels=group.channels, reason=reason))
    return groups, refused


def why_not(network: nn.Module, example: Tensor, cuts: Sequence[Cut]) -> str:
    """What is wrong with those cuts, in words; nothing if the cut network equals the masked one.

    It is tried on a copy with random weights in float64, so that equality is not for want of a difference.
    """
    return _difference(_randomised(network), _noise(example), cuts)


def dependency_graph(network: nn.Module, example: Tensor) -> Any:
    """torch-pruning's dependency graph of the network itself, traced on one example.

    Raises:
        ValueError: the network does not run on the example.
    """
    modes = [(part, part.training) for part in network.modules()]
    try:
        with torch.enable_grad():
            device = next((parameter.device for parameter in network.parameters()), example.device)
            return tp.DependencyGraph().build_dependency(
                network.eval(), example[:1].to(device), verbose=False
            )
    except Exception as error:  # whatever the user's forward raises
        raise ValueError(
            f"{type(network).__name__} cannot be traced on an input of {tuple(example.shape)}: {error}"
        ) from error
    finally:
        for part, training in modes:
            part.training = training


def _roots(network: nn.Module, example: Tensor, ignore: Collection[str]) -> Iterator[tuple[str, int]]:
    copied = copy.deepcopy(network)
    names = {module: name for name, module in copied.named_modules()}
    ignored = [
        module
        for name, module in copied.named_modules()
        if any(name == prefix or name.startswith(f"{prefix}.") for prefix in ignore)
    ]
    for group in dependency_graph(copied, example).get_all_groups(ignored_layers=ignored):
        dependency, indices = group[0]
        if len(indices) > 1:
            yield names[dependency.target.module], len(indices)


def _group(graph: Any, network: nn.Module, cut: Cut) -> Any:
    modules = dict(network.named_modules())
    module = modules.get(cut.root)
    if module is None or graph.get_out_channels(module) != cut.channels:
        found = "no such layer" if module is None else f"{graph.get_out_channels(module)} channels"
        raise ValueError(
            f"a cut of {cut.root!r} from {cut.channels} to {len(cut.kept)} channels does not belong to this "
            f"network, which has {found} there"
        )
    handler = graph.get_pruner_of_module(module).prune_out_channels
    return graph.get_pruning_group(module, handler, cut.dropped)


def _mask(dependency: Any, indices: Tensor) -> None:
    """Zeroes what the dependency's handler would remove."""
    module = dependency.target.module
    if isinstance(module, nn.Parameter):
        module.index_fill_(dependency.target.pruning_dim, indices, 0)
    elif isinstance(module, _ConvNd | nn.Linear):
        incoming = dependency.handler.__name__ == "prune_in_channels"
        if incoming and isinstance(module, _ConvNd) and module.groups > 1:
            return  # what comes in is zero already, and the slices do not line up
        dimension = int(incoming) ^ int(isinstance(module, _ConvTransposeNd))
        module.weight.index_fill_(dimension, indices, 0)
        if module.bias is not None and not incoming:
            module.bias.index_fill_(0, indices, 0)
    elif isinstance(module, _BatchNorm) and module.affine:
        module.weight.index_fill_(0, indices, 0)
        module.bias.index_fill_(0, indices, 0)


def _difference(network: nn.Module, images: Tensor, cuts: Sequence[Cut]) -> str:
    """What is wrong with those cuts, in words; nothing if the cut network equals the masked one."""
    with torch.no_grad():
        try:
            cut = cut_channels(network, images, cuts).eval()(images)
        except Exception as error:  # whatever the user's forward raises when its shapes do not fit
            return f"the network does not run without them ({str(error).splitlines()[0]})"
        masked = mask_channels(network, images, cuts).eval()(images)
    if cut.shape != masked.shape:
        return _OUTPUTS
    if _normalises_over_channels(network, images, cuts):
        return ""
    if (cut - masked).abs().max() > _TOLERANCE * masked.abs().max():
        return "cutting them changes the network differently from masking them"
    return ""


def _normalises_over_channels(network: nn.Module, images: Tensor, cuts: Sequence[Cut]) -> bool:
    """Whether a norm averages over the channels: then a cut rightly differs from a mask, which it sees."""
    graph = dependency_graph(network, images)
    return any(
        isinstance(dependency.target.module, nn.LayerNorm | nn.GroupNorm | nn.LocalResponseNorm)
        for cut in cuts
        for dependency, _ in _group(graph, network, cut)
    )


def _middle_run(group: ChannelGroup) -> Cut:
    start = group.channels // group.run // 2 * group.run
    kept = tuple(index for index in range(group.channels) if not start <= index < start + group.run)
    return Cut(root=group.root, channels=group.channels, kept=kept)


def _runs(channels: int) -> list[int]:
    """Lengths of runs to try: the divisors up to half the channels."""
    return [run for run in range(1, min(channels // 2, _LONGEST_RUN) + 1) if channels % run == 0]


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


def _noise(example: Tensor) -> Tensor:
    return torch.randn(2, *example.shape[1:], generator=torch.Generator().manual_seed(1)).double()
