"""The prefix rule, put to the test: what channel j does never depends on the active width.

A narrow network and a wider one that differs in nothing but sizes run on shared weights. In the wide one
everything outside the narrow one's slices is set to next to nothing, so its further channels neither say
anything nor are listened to. What is left computes what the narrow network computes, if the rule holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nas.supernet.supernet import Supernet
from search_spaces.blocks import block
from search_spaces.mixers import mixer
from search_spaces.space import Arch, SearchSpace
from search_spaces.spaces.convnet import ConvNet, ConvStage, convnet
from search_spaces.spaces.metaformer import Stage, metaformer

_SILENT = 1e-12  # not zero, by whose norm weight normalisation would divide
_TOLERANCE = 2e-5  # of the largest value; what obeys stays below 1e-6, what does not starts at 1e-4
_ADVICE = (
    "Split channels by index and not by fraction, keep q, k and v apart, keep the size of a head fixed and "
    "let their number follow the width, and scale by nothing that the width decides"
)


def check_prefix_rule(
    space: SearchSpace, *, seed: int = 0, archs: Iterable[Arch] = (), networks: int = 8
) -> int:
    """Checks that networks of the space that differ in width only agree on the channels they share.

    From each of the archs every choice is moved alone to each of its values. Where that makes parameters
    longer and changes nothing else, the two networks are compared.

    What it cannot see: choices that change which parameters there are (depth, kind of mixer) or kernels,
    whose networks differ by design; two meanings of one name that have the same shape and module class;
    whatever does not show in the output. ``nn.LayerNorm``, ``nn.RMSNorm`` and ``nn.GroupNorm`` with one group
    look at all channels on purpose and are made to look at the narrow network's; norms across channels that
    are written otherwise are reported.

    Args:
        space: the space.
        seed: seed of weights, images and archs.
        archs: archs to start from; that of all least values and random ones where none are given.
        networks: how many random archs to start from.

    Returns:
        How many pairs of networks were compared.

    Raises:
        ValueError: two networks disagree; names the module, the two archs, and what to do. Also what
            ``Supernet`` says about parameters that cannot be shared.
    """
    supernet = _randomised(space, seed)
    starts = list(archs)
    if not starts:
        rows = space.sample(networks, np.random.default_rng(seed))
        least = np.zeros((1, len(space.choices)), dtype=np.int64)  # the fewest MACs would have to be counted
        starts = [space.to_arch(row) for row in (*space.nearest(least), *rows)]
    compared = 0
    for narrow in starts:
        for wide, choice in _moves(space, narrow):
            problem = _compare(supernet, narrow, wide, seed)
            if problem is None:
                continue
            compared += 1
            if problem:
                before, after = narrow.get(choice), wide[choice]
                raise ValueError(
                    f"space {space.name!r} breaks the prefix rule when {choice!r} goes from {before!r} to "
                    f"{after!r}: {problem} depends on the active width. {_ADVICE}. The archs are "
                    f"{dict(narrow)} and {dict(wide)}"
                )
    return compared


def check_mixer(name: str, *, activation: str = "relu", seed: int = 0) -> int:
    """The same for a registered mixer, in a small network of its own.

    Args:
        name: name of the mixer.
        activation: name of the activation of the network.
        seed: seed of weights and images.

    Returns:
        How many pairs of networks were compared.

    Raises:
        ValueError: there is no such mixer, or it breaks the rule.
    """
    unit = max(8, mixer(name).multiple)
    widths = tuple(unit * times for times in (1, 2, 3, 4))
    stage = Stage(widths=widths, depths=(1,), mixers=(name,), ratios=(1,))
    space = metaformer(f"mixer {name}", [stage], classes=4, input_shape=(3, 16, 16), activation=activation)
    return check_prefix_rule(space, seed=seed, networks=2)


def check_part(key: str, name: str, *, activation: str = "relu", seed: int = 0) -> int:
    """The same for what else the stages of MetaFormers choose among, in a small network of its own.

    Args:
        key: what it is, as stages call it: ``channel_mixers``, ``norms``, ``residuals``, ``entries``.
        name: its name.
        activation: name of the activation of the network.
        seed: seed of weights and images.

    Returns:
        How many pairs of networks were compared.

    Raises:
        ValueError: there is no such part, or it breaks the rule.
    """
    stages = [
        Stage(widths=widths, depths=(1,), mixers=("depthwise",), ratios=(1,), **{key: (name,)})  # type: ignore[arg-type]
        for widths in ((16, 32, 48), (16, 64))
    ]
    space = metaformer(f"{key} {name}", stages, classes=4, input_shape=(3, 8, 8), activation=activation)
    return check_prefix_rule(space, seed=seed, networks=2)


def check_block(name: str, *, activation: str = "relu", seed: int = 0) -> int:
    """The same for a registered block, or the block of a mixer, in a network of two stages.

    Args:
        name: name of the block.
        activation: name of the activation of the network.
        seed: seed of weights and images.

    Returns:
        How many pairs of networks were compared.

    Raises:
        ValueError: there is no such block, or it breaks the rule.
    """
    unit = max(8, block(name).multiple)
    widths = tuple(unit * times for times in (1, 2, 3))
    stages = [ConvStage(widths=widths, depths=(1,), blocks=(name,), stride=stride) for stride in (1, 2)]
    net = ConvNet(stages=tuple(stages), stem_strides=(1,))
    space = convnet(f"block {name}", net, classes=4, input_shape=(3, 8, 8), activation=activation)
    return check_prefix_rule(space, seed=seed, networks=1)


def _randomised(space: SearchSpace, seed: int) -> Supernet:
    """A supernet in which nothing is hidden behind a zero or a one: norms and scales are drawn too."""
    supernet = Supernet(space, seed=seed)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in supernet.parameters.values():
            drawn = torch.rand(parameter.shape, generator=random)
            if parameter.ndim == 1 or bool((parameter == parameter.flatten()[0]).all()):
                parameter.copy_(drawn + 0.5)
    return supernet


def _moves(space: SearchSpace, arch: Arch) -> Iterator[tuple[Arch, str]]:
    row = space.to_row(arch)
    for other in space.neighbours(row):
        changed = np.flatnonzero(other != row)
        yield space.to_arch(other), space.names[changed[0]]


def _compare(supernet: Supernet, narrow: Arch, wide: Arch, seed: int) -> str | None:
    """What disagrees, in words; empty where nothing does, None where the two differ in more than width."""
    space = supernet.space
    if space.input_shape(narrow) != space.input_shape(wide):
        return None
    small, large = supernet.extract(narrow).eval(), supernet.extract(wide).eval()
    if not _only_wider(supernet, dict(small.named_parameters()), dict(large.named_parameters())):
        return None
    _mute(small, large)
    images = torch.randn(2, *space.input_shape(narrow), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        ours, theirs = _run(small, images), _run(large, images)
    if all(map(_agree, ours[-1].outputs, theirs[-1].outputs)):
        return ""
    return _culprit(ours, theirs, dict(large.named_modules()))


def _only_wider(supernet: Supernet, small: dict[str, nn.Parameter], large: dict[str, nn.Parameter]) -> bool:
    if small.keys() != large.keys():
        return False
    grown = False
    for name, parameter in small.items():
        centred = supernet.index[name].centred
        for dim, (ours, theirs) in enumerate(zip(parameter.shape, large[name].shape, strict=True)):
            if ours > theirs or (ours < theirs and dim in centred):
                return False
            grown |= ours < theirs
    return grown


def _mute(small: nn.Module, large: nn.Module) -> None:
    """Silences what the small network does not have; norms over all channels see the small one's."""
    with torch.no_grad():
        wide = dict(large.named_parameters())
        for name, parameter in small.named_parameters():
            wide[name].fill_(_SILENT)
            _leading(wide[name], parameter.shape).copy_(parameter)
    modules = dict(small.named_modules())
    for name, module in large.named_modules():
        if name in modules and _over_all_channels(module):
            module.register_forward_hook(_as_narrow(modules[name]))


def _over_all_channels(module: nn.Module) -> bool:
    return isinstance(module, nn.LayerNorm | nn.RMSNorm) or (
        isinstance(module, nn.GroupNorm) and module.num_groups == 1
    )


def _as_narrow(norm: nn.Module) -> Any:
    """A hook that gives what the narrow norm makes of its share of the input, and zeros."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:  # noqa: ARG001
        x = inputs[0]
        shape = list(x.shape)
        if isinstance(norm, nn.GroupNorm):
            shape[1] = norm.num_channels
        else:
            sizes: tuple[int, ...] = tuple(norm.normalized_shape)  # type: ignore[arg-type]
            shape[-len(sizes) :] = sizes
        result = torch.zeros_like(output)
        _leading(result, shape).copy_(norm.forward(_leading(x, shape)))  # past the hooks
        return result

    return hook


def _leading(tensor: Tensor, shape: Iterable[int]) -> Tensor:
    return tensor[tuple(slice(size) for size in shape)]


# -- finding the place ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Call:
    name: str
    inputs: list[Tensor]
    outputs: list[Tensor]


def _run(network: nn.Module, images: Tensor) -> list[_Call]:
    """The calls of a network's modules, in the order they ended; the last is its own."""
    calls: list[_Call] = []
    for name, module in network.named_modules():

        def note(_: nn.Module, inputs: Any, outputs: Any, name: str = name) -> None:
            calls.append(
                _Call(name, [t.clone() for t in _tensors(inputs)], [t.clone() for t in _tensors(outputs)])
            )

        module.register_forward_hook(note)
    network(images)
    return calls


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def _agree(small: Tensor, large: Tensor) -> bool:
    """Whether the leading part of the larger tensor is the smaller one."""
    if small.ndim != large.ndim or any(a > b for a, b in zip(small.shape, large.shape, strict=True)):
        return False
    difference = (_leading(large, small.shape) - small).abs().max() if small.numel() else torch.zeros(())
    return bool(difference <= _TOLERANCE * small.abs().max().clamp(min=1e-6)) if small.numel() else True


def _culprit(ours: list[_Call], theirs: list[_Call], modules: dict[str, nn.Module]) -> str:
    """The innermost module that was given the same and made something else of it."""
    for small, large in zip(ours, theirs, strict=False):
        if small.name != large.name:
            break
        if all(map(_agree, small.inputs, large.inputs)) and not all(
            map(_agree, small.outputs, large.outputs)
        ):
            kind = type(modules[small.name]).__name__
            return (
                f"what {small.name!r} ({kind}) computes"
                if small.name
                else f"what the network ({kind}) computes"
            )
    return "what the network computes"
