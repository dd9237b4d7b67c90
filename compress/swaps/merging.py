"""Convolutions in a row that become one, once the activations between them are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, fx, nn
from torch.nn.functional import conv_transpose2d
from torch.nn.utils.fusion import fuse_conv_bn_eval

from compress.names import within
from compress.plain import plain_copy
from compress.swaps.factors import LEFT_OUT
from compress.swaps.swap import SWAPS, Swap

MERGED = "merged"
_BETWEEN = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Mish),
    *(nn.Sigmoid, nn.Hardsigmoid, nn.Tanh, nn.Hardtanh, nn.Softplus, nn.Identity, nn.Dropout),
)
Count = Annotated[int, Field(ge=1)]
Padding = Annotated[int, Field(ge=0)]


@SWAPS.register(MERGED)
def merged_form(
    old: nn.Module,
    *,
    outputs: Count,
    height: Count,
    width: Count,
    down: Count,
    across: Count,
    top: Padding,
    side: Padding,
    groups: Count,
) -> nn.Module | None:
    """A convolution in the place of several in a row, this being the first; its weights are to be loaded.

    Args:
        old: First convolution.
        outputs: Channels that come out of the last.
        height: Height of the kernel.
        width: Width of the kernel.
        down: Stride from row to row.
        across: Stride from column to column.
        top: Padding above and below.
        side: Padding left and right.
        groups: Groups of channels.
    """
    if type(old) is not nn.Conv2d:
        return None
    made = nn.Conv2d(
        *(old.in_channels, outputs, (height, width), (down, across), (top, side)), groups=groups, bias=True
    )
    return made.to(old.weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Convolutions of which each reads what the one before gives, through norms and activations alone.

    Attributes:
        convolutions: Names of the convolutions, in order.
        between: Names of the modules between each and the next.
        norms: Name of the norm behind each that folds into it; None where there is none.
    """

    convolutions: tuple[str, ...]
    between: tuple[tuple[str, ...], ...]
    norms: tuple[str | None, ...]


@torch.no_grad()
def merge(first: nn.Conv2d, second: nn.Conv2d) -> nn.Conv2d:
    """One convolution that computes what two do, with all padding before the first.

    The kernel is the second's moved over the first's, as in "LayerMerge: Neural Network Depth Compression
    through Layer Pruning and Merging" (Kim et al., ICML 2024). Where the second pads, the two pad what lies
    between with zeros and the one pads the image, so that outputs at the border differ.

    Args:
        first: Convolution of any stride and groups, with zeros for padding and no dilation.
        second: Convolution that reads it, likewise.
    """
    depthwise = (
        first.groups == second.groups == first.in_channels == first.out_channels == second.out_channels
    )
    groups = first.groups if depthwise else 1
    inner, outer = _dense(first).double(), _dense(second).double()
    weight = conv_transpose2d(outer, inner, stride=first.stride)  # (o, c, ...) over (c, i, ...)
    bias = outer.new_zeros(second.out_channels)
    if first.bias is not None:
        bias += outer.sum((2, 3)) @ first.bias.double()
    if second.bias is not None:
        bias += second.bias.double()
    if depthwise:
        weight = weight.diagonal().movedim(-1, 0).unsqueeze(1)
    (down, across), (top, side) = first.stride, _padding(first)
    more_top, more_side = _padding(second)
    made = nn.Conv2d(
        first.in_channels,
        second.out_channels,
        tuple(weight.shape[2:]),  # type: ignore[arg-type]
        (down * second.stride[0], across * second.stride[1]),
        (top + down * more_top, side + across * more_side),
        groups=groups,
    ).to(first.weight)
    made.weight.copy_(weight)
    assert made.bias is not None
    made.bias.copy_(bias)
    return made


def _dense(conv: nn.Conv2d) -> Tensor:
    """The weight (outputs, inputs, height, width) without groups."""
    each, inside = conv.out_channels // conv.groups, conv.in_channels // conv.groups
    whole = conv.weight.new_zeros(conv.out_channels, conv.in_channels, *conv.kernel_size)
    for group in range(conv.groups):
        rows, columns = slice(group * each, (group + 1) * each), slice(group * inside, (group + 1) * inside)
        whole[rows, columns] = conv.weight[rows]
    return whole


def _padding(conv: nn.Conv2d) -> tuple[int, int]:
    if isinstance(conv.padding, str):
        sides = [size // 2 for size in conv.kernel_size] if conv.padding == "same" else [0, 0]
        return sides[0], sides[1]
    return conv.padding[0], conv.padding[1]


def series_of(network: nn.Module, *, ignore: Collection[str] = ()) -> list[Series]:
    """The series of two convolutions and more that could become one, in the order of the network.

    What the traced graph proves: each module is called once, and the next alone reads what it gives. Hooks,
    shared weights and a ``forward`` that cannot be traced rule them out.

    Args:
        network: Any module.
        ignore: Names of convolutions, or of modules that hold them, that stay.
    """
    try:
        graph = fx.Tracer().trace(network)
    except Exception:  # a user's forward fails on proxies in whatever way it likes
        return []
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    read = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    holders = Counter(id(one) for _, one in network.named_parameters(remove_duplicate=False))

    def own(node: fx.Node) -> nn.Module | None:
        """The module that a node calls, where nothing else does."""
        name = str(node.target)
        if node.op != "call_module" or calls[name] != 1 or name in read:
            return None
        module = network.get_submodule(name)
        hooked = module._forward_hooks or module._forward_pre_hooks
        shared = any(holders[id(one)] > 1 for one in module.parameters())
        return None if hooked or shared or within(name, ignore) else module

    found: list[Series] = []
    begun: set[str] = set()
    for node in graph.nodes:
        name = str(node.target)
        if name in begun or not _mergeable(own(node)):
            continue
        names: list[str] = [name]
        between: list[tuple[str, ...]] = []
        norms: list[str | None] = [None]
        passed: list[str] = []
        here = node
        while len(here.users) == 1:
            here = next(iter(here.users))
            module = own(here)
            if module is None or len(here.all_input_nodes) != 1:
                break
            if _mergeable(module):
                names.append(str(here.target))
                between.append(tuple(passed))
                norms.append(None)
                passed = []
            elif type(module) is nn.BatchNorm2d and not passed and module.running_mean is not None:
                norms[-1] = str(here.target)
                passed.append(str(here.target))
            elif isinstance(module, _BETWEEN):
                passed.append(str(here.target))
            else:
                break
        begun.update(names)
        if len(names) > 1:
            found.append(Series(convolutions=tuple(names), between=tuple(between), norms=tuple(norms)))
    return found


def _mergeable(module: nn.Module | None) -> bool:
    return (
        type(module) is nn.Conv2d
        and module.padding_mode == "zeros"
        and module.dilation == (1, 1)
        and (module.padding != "same" or all(size % 2 for size in module.kernel_size))
    )


def merged(network: nn.Module, series: Series, begin: int, end: int) -> tuple[nn.Conv2d, tuple[Swap, ...]]:
    """The convolution that some of a series become, and the exchanges that put it there.

    A norm behind the last of them stays behind the one.

    Args:
        network: Network of the series; it is left untouched.
        series: Convolutions in a row.
        begin: Place of the first in the series.
        end: Place behind the last.
    """
    made: Any = None
    for place in range(begin, end):
        conv: Any = plain_copy(network.get_submodule(series.convolutions[place])).eval()
        norm = series.norms[place]
        if norm is not None and place < end - 1:
            behind: Any = plain_copy(network.get_submodule(norm)).eval()
            conv = fuse_conv_bn_eval(conv, behind)
        made = conv if made is None else merge(made, conv)
    settings = {
        "outputs": made.out_channels,
        "height": made.kernel_size[0],
        "width": made.kernel_size[1],
        "down": made.stride[0],
        "across": made.stride[1],
        "top": made.padding[0],
        "side": made.padding[1],
        "groups": made.groups,
    }
    gone = [name for place in range(begin, end - 1) for name in series.between[place]]
    gone += series.convolutions[begin + 1 : end]
    return made, (
        Swap(module=series.convolutions[begin], kind=MERGED, settings=settings),
        *(Swap(module=name, kind=LEFT_OUT) for name in gone),
    )


def with_merged(
    network: nn.Module, segments: Sequence[tuple[Series, int, int]]
) -> tuple[nn.Module, tuple[Swap, ...]]:
    """A copy in which spans of series are one convolution each, and the exchanges that made it.

    Args:
        network: Network; it is left untouched.
        segments: Series, place of the first convolution, and place behind the last, none twice.
    """
    copy = plain_copy(network)
    exchanges: list[Swap] = []
    for series, begin, end in segments:
        conv, made = merged(network, series, begin, end)
        copy.set_submodule(series.convolutions[begin], conv.train(copy.training))
        for one in made[1:]:
            copy.set_submodule(one.module, nn.Identity())
        exchanges += made
    return copy, tuple(exchanges)
