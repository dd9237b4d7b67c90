"""A space out of finished networks of one family: anchors, and what begins in one and ends in the next.

"Stitchable Neural Networks" (Pan et al., CVPR 2023), section 3: a 1x1 convolution, begun from least squares,
leads from a map of a smaller anchor into a larger one ("fast to slow", between nearest neighbours); a few
epochs then train all of them together, which the training of a supernet does.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.choice import Choice, Value
from search_spaces.layer import Layer, Slot
from search_spaces.space import Arch, SearchSpace

_ANCHOR = "anchor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A network of the family.

    Attributes:
        arch: choices of that network.
        network: what ``space.build(arch)`` makes, trained, the statistics of its norms set.
    """

    arch: Arch
    network: nn.Module


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stitch:
    """A way from one anchor into the next.

    Attributes:
        left: layers of the smaller anchor that run before it.
        entered: layers of the larger anchor that do not run.
        running: layers of the larger anchor that run after it.
        layer: the convolution between them.
    """

    left: int
    entered: int
    running: int
    layer: Layer


def stitched(space: SearchSpace, anchors: Sequence[Anchor], images: Tensor) -> SearchSpace:
    """The space of some trained networks of a family and of the stitches between neighbours in size.

    The choice ``anchor`` says in which network one begins, ``anchor0.larger`` how many layers of the next
    larger one it ends with (0: none). A supernet of it begins with the anchors' weights.

    Args:
        space: the family, a space of slots.
        anchors: two or more of its networks, in any order.
        images: some inputs that stitches are fitted on, (N, C, H, W); a hundred are enough.

    Raises:
        ValueError: fewer than two anchors, or two of one size, a space that only builds, a network that is
            not of its arch, or neighbours without maps of one resolution.
    """
    if not space.slots:
        raise ValueError(f"space {space.name!r} only builds its networks; stitches join the layers of slots")
    if len(anchors) < 2:
        raise ValueError(f"stitching takes two anchors or more, got {len(anchors)}")
    rows = [space.to_row(one.arch) for one in anchors]
    macs = [float(space.sum_over_layers(row[None], space.layer_macs)[0]) for row in rows]
    order = sorted(range(len(anchors)), key=lambda at: macs[at])
    if len(set(macs)) < len(macs):
        raise ValueError("two anchors have as many multiply-accumulates: leave one out")
    chain = [anchors[at] for at in order]
    layers = [_layers(space, one, number) for number, one in enumerate(chain)]
    seen = [_inputs(of, images) for of in layers]
    ways = [
        _ways(number, layers[number], layers[number + 1], seen[number], seen[number + 1])
        for number in range(len(chain) - 1)
    ]
    choices = [Choice(_ANCHOR, tuple(range(len(chain))))]
    slots: list[Slot] = []
    for number, own in enumerate(layers):
        into = {one.running: one for one in ways[number - 1]} if number else {}
        out = {one.running: one for one in ways[number]} if number < len(ways) else {}
        if out:
            choices.append(Choice(_larger(number), (0, *sorted(out)), _ANCHOR, (number,)))
        slots += [_slot(number, place, layer, into, out) for place, layer in enumerate(own)]
        if out:
            slots.append(_stitch_slot(number, out))
    return SearchSpace(
        f"{space.name} stitched",
        choices,
        slots=slots,
        input_shape=space.input_shape(chain[0].arch),
        reference={_ANCHOR: len(chain) - 1},
    )


def _larger(number: int) -> str:
    return f"{_ANCHOR}{number}.larger"


def _layers(space: SearchSpace, anchor: Anchor, number: int) -> list[Layer]:
    """The layers of an anchor under names of its own, each built with the anchor's weights."""
    modules = dict(anchor.network.named_children())
    found = []
    for layer in space.lower(anchor.arch):
        module, wanted = modules.get(layer.name), layer.build().state_dict()
        shapes = {} if module is None else {name: one.shape for name, one in module.state_dict().items()}
        if module is None or shapes != {name: one.shape for name, one in wanted.items()}:
            raise ValueError(
                f"anchor {dict(anchor.arch)}: its network has no {layer.name} of that arch; give what "
                "space.build(arch) makes, trained"
            )
        kept = copy.deepcopy(module).cpu()
        found.append(replace(layer, name=f"{_ANCHOR}{number}_{layer.name}", make=partial(_copied, kept)))
    return found


def _copied(module: nn.Module, **_: Any) -> nn.Module:
    """What a layer is built with, whatever its sizes: they are the module's."""
    return copy.deepcopy(module)


@torch.no_grad()
def _inputs(layers: Sequence[Layer], images: Tensor) -> list[Tensor]:
    """What goes into each layer of an anchor."""
    found, x = [], images
    for layer in layers:
        found.append(x)
        x = layer.build().eval()(x)
    return found


def _ways(
    number: int,
    small: Sequence[Layer],
    large: Sequence[Layer],
    left: Sequence[Tensor],
    right: Sequence[Tensor],
) -> list[_Stitch]:
    """The stitches between two anchors: into each layer of the larger from the like place in the smaller.

    Places are between layers whose maps have one resolution, the k-th of n in one being the like of that in
    the other; not before the last layer, where nothing of the larger would be left but its classifier.
    """
    found = []
    for size in dict.fromkeys(layer.input_shape[1:] for layer in large[1:-1]):
        places, into = _between(small, size), _between(large, size)
        for rank, entered in enumerate(into if places else ()):
            like = places[round(rank * (len(places) - 1) / max(1, len(into) - 1))]
            layer = _stitch(number, entered, left[like], right[entered])
            found.append(_Stitch(left=like, entered=entered, running=len(large) - entered, layer=layer))
    if not found:
        raise ValueError(
            f"anchors {number} and {number + 1} in order of size have no maps of one resolution between "
            "their layers"
        )
    return found


def _between(layers: Sequence[Layer], size: tuple[int, ...]) -> list[int]:
    """The layers but the first and the last into which maps of a size go."""
    return [at for at in range(1, len(layers) - 1) if layers[at].input_shape[1:] == size]


def _stitch(number: int, entered: int, given: Tensor, wanted: Tensor) -> Layer:
    return Layer.of(
        f"{_ANCHOR}{number}_stitch{entered}",
        "stitch",
        partial(_copied, _fitted(given, wanted)),
        tuple(given.shape[1:]),
        tuple(wanted.shape[1:]),
        {"inputs": given.shape[1], "outputs": wanted.shape[1]},
    )


@torch.no_grad()
def _fitted(given: Tensor, wanted: Tensor) -> nn.Conv2d:
    """The 1x1 convolution that comes closest to making one map of another, by least squares."""
    inputs, outputs = given.shape[1], wanted.shape[1]
    x = given.movedim(1, -1).reshape(-1, inputs).double()
    y = wanted.movedim(1, -1).reshape(-1, outputs).double()
    ones = torch.ones(len(x), 1, dtype=torch.float64)
    solved = torch.linalg.lstsq(torch.cat([x, ones], dim=1), y, driver="gelsd").solution
    made = nn.Conv2d(inputs, outputs, 1)
    made.weight.copy_(solved[:-1].T.reshape(made.weight.shape))
    made.bias.copy_(solved[-1])  # type: ignore[union-attr]
    return made


def _slot(
    number: int, place: int, layer: Layer, into: Mapping[int, _Stitch], out: Mapping[int, _Stitch]
) -> Slot:
    """The place of an anchor's layer: it runs before a stitch out of its anchor, or after one into it."""
    names = (_ANCHOR, *([_larger(number - 1)] if into else []), *([_larger(number)] if out else []))
    layer_of = partial(_standing, number=number, place=place, layer=layer, into=into, out=out)
    return Slot(name=f"{_ANCHOR}{number}.layer{place}", choices=names, layer=layer_of)


def _standing(
    arch: Mapping[str, Value],
    *,
    number: int,
    place: int,
    layer: Layer,
    into: Mapping[int, _Stitch],
    out: Mapping[int, _Stitch],
) -> Layer | None:
    if arch[_ANCHOR] == number:
        way = out.get(int(arch[_larger(number)])) if out else None
        return layer if way is None or place < way.left else None
    if into and arch[_ANCHOR] == number - 1:
        way = into.get(int(arch[_larger(number - 1)]))
        return layer if way is not None and place >= way.entered else None
    return None


def _stitch_slot(number: int, out: Mapping[int, _Stitch]) -> Slot:
    return Slot(
        name=f"{_ANCHOR}{number}.stitch",
        choices=(_ANCHOR, _larger(number)),
        layer=partial(_stitch_of, number=number, out=out),
    )


def _stitch_of(arch: Mapping[str, Value], *, number: int, out: Mapping[int, _Stitch]) -> Layer | None:
    way = out.get(int(arch[_larger(number)])) if arch[_ANCHOR] == number else None
    return None if way is None else way.layer
