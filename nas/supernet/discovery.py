"""Finding every parameter of a search space, its largest shape, and its first values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from nas.supernet.building import Skeletons, collecting_later, new
from nas.supernet.weights import Entry, Parameter, is_norm, lay_out, own_name, same_kind
from search_spaces.choice import Value
from search_spaces.layer import Layer
from search_spaces.reference.extremes import Term
from search_spaces.space import Arch, SearchSpace

_RANDOM_PROBES = 64


@dataclass(frozen=True, slots=True)
class Piece:
    """Something that can be built and holds parameters: a layer in its slot, or a whole network.

    Attributes:
        prefix: prefix of its parameters' names; empty for a whole network.
        build: makes it.
        what: how messages call it; pieces called the same are built the same.
    """

    prefix: str
    build: Callable[[], nn.Module]
    what: str


def pieces(space: SearchSpace) -> list[Piece]:
    """What has to be looked at to know every parameter of a space.

    A space of slots is known from its layers, exactly. For one that only builds, networks are probed:
    the last and the first value of every choice, each choice moved alone from either, the smallest and the
    largest by multiply-accumulates, 64 random ones, and the space's own ``probes``, a declared reference
    among them.
    """
    if space.slots:
        layers = {(layer.name, layer.key): layer for layer in space.slot_layers()}
        return [_of_layer(layer) for layer in layers.values()]
    return [_of_network(space, arch) for arch in _probes(space)]


def pieces_of(space: SearchSpace, arch: Arch) -> list[Piece]:
    """What the network of an arch is made of, in order: its layers, or itself where the space only builds.

    Raises:
        ValueError: no arch of this space.
    """
    if space.slots:
        return [_of_layer(layer) for layer in space.lower(arch)]
    return [_of_network(space, space.to_arch(space.to_row(arch)))]


def _of_layer(layer: Layer) -> Piece:
    return Piece(layer.name, layer.build, f"layer {layer.key}")


def _of_network(space: SearchSpace, arch: Arch) -> Piece:
    return Piece("", partial(space.build, arch), f"arch {dict(arch)}")


def _probes(space: SearchSpace) -> Iterator[dict[str, Value]]:
    large, small = space.n_values - 1, np.zeros_like(space.n_values)
    rows = [large, small, *space.ends, *(space.to_row(arch) for arch in space.probes)]
    for column, count in enumerate(space.n_values):
        for value in range(count):
            for base in (large, small):
                row = base.copy()
                row[column] = value
                rows.append(row)
            if space.rules:  # by which that may become something without this value
                own = Term(columns=(column,), values=np.arange(count) == value)
                found = space.kept.nearest(large, [own])
                rows += [] if found is None else [found]
    rows += list(space.sample(_RANDOM_PROBES, np.random.default_rng(0)))
    canonical = space.nearest(np.array(rows))
    _, first = np.unique(canonical, axis=0, return_index=True)
    for at in sorted(first):
        yield space.to_arch(canonical[at])


Known = list[tuple[Piece, list[Parameter]]]
"""Pieces with their parameters, by the names these have in the network."""


def look(space: SearchSpace, skeletons: Skeletons, *, own_norms: bool = False) -> Known:
    """Builds what has to be looked at; ``skeletons`` may keep it for whoever needs it next.

    Args:
        space: space to look at.
        skeletons: what makes its networks.
        own_norms: whether norms of two widths are two, each with scales and shifts of its own.
    """
    known = []
    with collecting_later():
        for piece in pieces(space):
            found = skeletons.of({piece.what: piece.build})[piece.what].parameters
            prefix = f"{piece.prefix}." if piece.prefix else ""
            known.append((piece, [_named_apart(one, prefix + one.name, own_norms) for one in found]))
    return known


def _named_apart(parameter: Parameter, name: str, own_norms: bool) -> Parameter:
    apart = own_norms and is_norm(parameter.owner)
    return replace(parameter, name=own_name(name, parameter.shape) if apart else name)


def discover(known: Known) -> dict[str, Entry]:
    """Every parameter of the space at its largest shape, by name.

    Raises:
        ValueError: a name that means different things in two archs, or a shape that is no slice of the
            largest; the message names the parameter, both places, and what to do.
    """
    largest: dict[str, tuple[Parameter, str]] = {}
    shapes: dict[str, dict[tuple[int, ...], str]] = {}
    for piece, parameters in known:
        for parameter in parameters:
            shapes.setdefault(parameter.name, {}).setdefault(parameter.shape, piece.what)
            before = largest.get(parameter.name)
            largest[parameter.name] = (
                (_union(*before, parameter, piece.what), before[1]) if before else (parameter, piece.what)
            )
    index = lay_out(parameter for parameter, _ in largest.values())
    for name, entry in index.items():
        for shape, what in shapes[name].items():
            problem = entry.misfit(shape)
            if problem:
                raise ValueError(f"parameter {name!r} of {what}: {problem} (largest in {largest[name][1]})")
    return index


def _union(first: Parameter, here: str, second: Parameter, there: str) -> Parameter:
    """The parameter with the larger size in every dimension."""
    if len(first.shape) != len(second.shape) or not same_kind(first.owner, second.owner):
        raise ValueError(
            f"parameter {first.name!r} means different things: {first.owner} {first.shape} in {here}, but "
            f"{second.owner} {second.shape} in {there}. {_way_out(first.owner, second.owner)}"
        )
    if first.trainable != second.trainable:
        frozen, trained = (there, here) if first.trainable else (here, there)
        raise ValueError(
            f"parameter {first.name!r} is frozen (requires_grad=False) in {frozen} and trained in {trained}; "
            f"all networks share it, so freeze it in all of them or in none"
        )
    owner = second.owner if first.owner.endswith(" (any)") else first.owner
    shape = tuple(max(sizes) for sizes in zip(first.shape, second.shape, strict=True))
    return replace(first, shape=shape, owner=owner)


def _way_out(first: str, second: str) -> str:
    groups = " (groups of "
    if groups in first and groups in second:
        return (
            "A width can be shared where every group has the same number of channels: let the number of "
            "groups follow the width, as in groups=width // 8"
        )
    return (
        "Parameters are shared by name; give the two modules different names (for instance by the choice "
        "that picks between them)"
    )


def initialise(known: Known, index: dict[str, Entry], flat: dict[str, Tensor], seed: int) -> None:
    """Fills the flat tensors with what the modules' own initialisers draw at their largest sizes.

    Where no single network has a parameter at its largest in every dimension, the rest is drawn from a
    normal distribution with the mean and deviation of the largest part there is.
    """
    filled: dict[str, int] = {}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for piece, parameters in sorted(known, key=_size, reverse=True):
            wanted = [
                (one.name, one.shape) for one in parameters if filled.get(one.name, 0) < math.prod(one.shape)
            ]
            if not wanted:
                continue
            values = dict(_named(new(piece.build), piece.prefix))
            values |= {own_name(name, value.shape): value for name, value in values.items()}
            for name, shape in wanted:
                entry, drawn = index[name], values[name].detach()
                if shape != entry.shape:
                    spread = drawn.std() if drawn.numel() > 1 else torch.zeros(())
                    entry.view(flat[entry.group], entry.shape).normal_().mul_(spread).add_(drawn.mean())
                entry.view(flat[entry.group], shape).copy_(drawn)
                filled[name] = drawn.numel()


def _size(known: tuple[Piece, list[Parameter]]) -> int:
    return sum(math.prod(one.shape) for one in known[1])


def _named(module: nn.Module, prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in module.named_parameters():
        yield f"{prefix}.{name}" if prefix else name, parameter
