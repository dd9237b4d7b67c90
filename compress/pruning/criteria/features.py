"""Criteria that look at what runs through the channels, on some images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from compress.pruning.importance import CRITERIA, IMAGES, Material
from compress.pruning.members import readers

_BATCH = 64


@CRITERIA.register("activation", needs={IMAGES})
class Activation:
    """Weights that read the channel times the norm of what they read.

    "A Simple and Effective Pruning Approach for Large Language Models" (Sun et al., ICLR 2024), Wanda,
    equation 1: magnitude of a weight times the Euclidean norm of its input over all images and positions;
    added up over what reads a channel, since whole channels go.
    """

    def __init__(self) -> None:
        self._squares: dict[nn.Module, Tensor] = {}

    def look(self, material: Material) -> None:
        """Adds up the squares of every input."""
        self._squares = {}

        def add(layer: nn.Module, seen: Tensor) -> None:
            squares = seen.detach().double().square().sum((0, 2))  # (B, inputs, positions) to (inputs,)
            self._squares[layer] = self._squares.get(layer, torch.zeros_like(squares)) + squares

        watch_inputs(material, add)

    def __call__(self, group: Any) -> Tensor:
        """Scores, (channels,)."""
        channels, found = len(group[0].idxs), []
        for member in readers(group):
            if member.module in self._squares:
                norms = self._squares[member.module].sqrt()[member.places]
                weights = member.slices(member.weight.detach().double().abs()).sum(1)
                found.append(member.summed(weights * norms, channels))
        if not found:
            raise ValueError("no layer with weights reads them")
        return torch.stack(found).mean(0)


@CRITERIA.register("keep_frequency", needs={IMAGES})
class KeepFrequency:
    """Share of the images for which the channel is among the few that carry most of the map.

    "Fire Together Wire Together" (Elkerdawy et al., CVPR 2022): of each image the largest channels, by their
    maximum over positions, whose sum is ``mass`` of that of all. There a small network predicts them, image
    by image; here the channels that are rarely among them go for all images.

    Args:
        mass: Share of the sum of maxima that the channels kept for an image carry.
    """

    def __init__(self, *, mass: Annotated[float, Field(gt=0, le=1)] = 0.7) -> None:
        self._mass = mass
        self._kept: dict[nn.Module, Tensor] = {}

    def look(self, material: Material) -> None:
        """Counts the images that every input is kept for."""
        self._kept = {}

        def add(layer: nn.Module, seen: Tensor) -> None:
            largest = seen.detach().double().abs().amax(2)  # (B, inputs)
            kept = self._among(largest).sum(0)
            self._kept[layer] = self._kept.get(layer, torch.zeros_like(kept)) + kept

        watch_inputs(material, add)

    def _among(self, largest: Tensor) -> Tensor:
        """Whether each is among the largest that make up the mass, double (B, inputs)."""
        ordered, order = largest.sort(dim=1, descending=True, stable=True)
        before = ordered.cumsum(1) - ordered
        keeps = (before < self._mass * ordered.sum(1, keepdim=True)).double()
        return torch.zeros_like(keeps).scatter(1, order, keeps)

    def __call__(self, group: Any) -> Tensor:
        """Counts of images, averaged over the layers that read the channels, (channels,)."""
        channels, found = len(group[0].idxs), []
        for member in readers(group):
            if member.module in self._kept:
                kept = self._kept[member.module][member.places]
                found.append(member.summed(kept, channels))
        if not found:
            raise ValueError("no layer with weights reads them")
        return torch.stack(found).mean(0)


def watch_inputs(material: Material, add: Callable[[nn.Module, Tensor], None]) -> None:
    """Runs the images and hands on what each reading layer reads, (B, inputs, positions)."""
    layers = {member.module for _, group in material.groups for member in readers(group)}

    def seen(layer: nn.Module, given: tuple[Tensor, ...], _: object) -> None:
        add(layer, _flat(layer, given[0]))

    run_with_hooks(material, layers, seen)


def run_with_hooks(
    material: Material,
    layers: Iterable[nn.Module],
    seen: Callable[[nn.Module, tuple[Tensor, ...], Any], None],
) -> None:
    """Runs all images through the network, with a forward hook on some of its layers."""
    hooks = [layer.register_forward_hook(seen) for layer in layers]
    try:
        with torch.no_grad():
            for part in material.given_images().split(_BATCH):
                material.network(part)
    finally:
        for hook in hooks:
            hook.remove()


def _flat(layer: nn.Module, given: Tensor) -> Tensor:
    """An input with its channels second and its positions last, (B, inputs, positions)."""
    if isinstance(layer, _ConvNd):
        return given.flatten(2)
    return given.reshape(given.shape[0], -1, given.shape[-1]).transpose(1, 2)
