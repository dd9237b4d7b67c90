"""Criteria that take each channel out and look at what becomes of the network, on some images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax, normalize
from torch.utils import _pytree as trees

from compress.pruning.groups import ChannelGroup
from compress.pruning.importance import CRITERIA, IMAGES, Material
from compress.pruning.masks import without
from compress.pruning.members import makers

Images = Annotated[int, Field(ge=1)]


class _Effect(ABC):
    """Runs the network without each unit of each group; what that does to it is a unit's score."""

    def __init__(self) -> None:
        self._scores: dict[Any, Tensor] = {}

    def look(self, material: Material) -> None:
        """Scores all units of all groups."""
        self._scores = {}
        with torch.no_grad():
            self.begin(material)
            for group, parts in material.groups:
                scores = torch.zeros(group.channels, dtype=torch.float64)
                for unit in group.units:
                    with without(parts, unit.tolist()):
                        scores[unit] = self.effect(material, group)
                self._scores[parts[0].dep.target.module] = scores

    def __call__(self, group: Any) -> Tensor:
        """Scores of the channels; those of one unit are the same, (channels,)."""
        return self._scores[group[0].dep.target.module]

    @abstractmethod
    def begin(self, material: Material) -> None:
        """Looks at the whole network."""

    @abstractmethod
    def effect(self, material: Material, group: ChannelGroup) -> float:
        """How much the network, as it is now, differs from the whole one."""


@CRITERIA.register("optin_trajectory", needs={IMAGES})
class Trajectory(_Effect):
    """Change of all later features, and of the outputs, without the channel or head.

    "The Need for Speed: Pruning Transformers with One Recipe" (Khaki and Plataniotis, ICLR 2024), OPTIN: of
    each later layer the features of sampled positions, each of length one, and the matrix of their inner
    products; the squared difference of the matrices with and without, added up over layers; and the
    divergence of the softened outputs. One forward pass a channel or head, no gradients. Layers that make
    the channels are left out, as they lack them by construction; matrices are averaged over their
    entries, so that layers of more positions do not count for more.

    Args:
        images: Images to look at.
        positions: Positions that are sampled in each layer.
        output_weight: Weight of the outputs beside the features.
        temperature: Temperature that outputs are softened with.
        seed: Seed of the samples; the one of the run where none is given.
    """

    def __init__(
        self,
        *,
        images: Images = 32,
        positions: Annotated[int, Field(ge=2)] = 128,
        output_weight: Annotated[float, Field(ge=0)] = 1.0,
        temperature: Annotated[float, Field(gt=0)] = 4.0,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        super().__init__()
        self._images, self._positions, self._seed = images, positions, seed
        self._output_weight, self._temperature = output_weight, temperature

    def begin(self, material: Material) -> None:
        """Features of the whole network."""
        self._watched = {m.module for _, parts in material.groups for m in makers(parts)}
        self._own = {group.root: {m.module for m in makers(parts)} for group, parts in material.groups}
        self._inputs = material.given_images()[: self._images]
        self._output, self._grams = self._run(material.network)

    def effect(self, material: Material, group: ChannelGroup) -> float:
        """Differences over the later layers; earlier ones have none."""
        output, grams = self._run(material.network)
        layers = self._watched - self._own[group.root]
        change = sum(
            float((grams[one] - self._grams[one]).square().mean()) for one in layers if one in self._grams
        )
        return change + self._output_weight * divergence(self._output, output, self._temperature)

    def _run(self, network: nn.Module) -> tuple[Tensor, dict[nn.Module, Tensor]]:
        grams: dict[nn.Module, Tensor] = {}

        def seen(layer: nn.Module, _: object, features: Tensor) -> None:
            last = isinstance(layer, nn.Linear)
            rows = (features if last else features.movedim(1, -1)).flatten(0, -2)  # (B * positions, channels)
            drawn = torch.randperm(len(rows), generator=torch.Generator().manual_seed(self._seed))
            rows = normalize(rows[drawn[: self._positions]].double(), dim=1)
            grams[layer] = rows @ rows.T

        hooks = [layer.register_forward_hook(seen) for layer in self._watched]
        try:
            return outputs_of(network, self._inputs), grams
        finally:
            for hook in hooks:
                hook.remove()


@CRITERIA.register("class_conditional", needs={IMAGES})
class ClassConditional(_Effect):
    """Change of the outputs without the channel, on images of some classes alone.

    "ED-ViT: Splitting Vision Transformer for Distributed Inference on Edge Devices" (Liu et al., 2024): the
    divergence of the outputs with and without, which leaves a network that serves these classes. Of which
    class an image is, the whole network says.

    Args:
        classes: Classes that matter, by number; left out, all of them.
        images: Images to look at.
    """

    def __init__(
        self, *, classes: tuple[Annotated[int, Field(ge=0)], ...] | None = None, images: Images = 64
    ) -> None:
        super().__init__()
        self._classes, self._images = classes, images

    def begin(self, material: Material) -> None:
        """The images of those classes, and the outputs of the whole network for them.

        Raises:
            ValueError: the outputs are no classes, or no image is of those.
        """
        images = material.given_images()
        whole = outputs_of(material.network, images)
        if self._classes is not None:
            if whole.ndim != 2 or max(self._classes) >= whole.shape[1]:
                raise ValueError(
                    f"there are no classes {self._classes} among outputs of shape {tuple(whole.shape)}"
                )
            chosen = torch.isin(whole.argmax(1), torch.tensor(self._classes))
            if not chosen.any():
                raise ValueError(
                    f"the network takes none of {len(images)} images for one of classes {self._classes}"
                )
            images = images[chosen]
        self._inputs = images[: self._images]
        self._output = outputs_of(material.network, self._inputs)

    def effect(self, material: Material, _: ChannelGroup) -> float:
        """Divergence of the outputs."""
        return divergence(self._output, outputs_of(material.network, self._inputs), 1.0)


def divergence(whole: Tensor, without_it: Tensor, temperature: float) -> float:
    """Kullback-Leibler divergence of softened outputs (B, classes, ...), times the temperature squared.

    One output, (B, 1, ...), speaks for the second of two classes.
    """
    if whole.shape[1] == 1:  # of which the softmax is 1, whatever it is
        whole, without_it = (torch.cat([torch.zeros_like(out), out], 1) for out in (whole, without_it))
    one, other = (log_softmax(out.double() / temperature, dim=1) for out in (whole, without_it))
    found = kl_div(other, one, log_target=True, reduction="none").sum(1).mean()
    return float(found) * temperature**2


def outputs_of(network: nn.Module, images: Tensor) -> Tensor:
    """The first output of a network, (B, ...)."""
    first: Tensor = next(one for one in trees.tree_leaves(network(images)) if isinstance(one, Tensor))
    return first
