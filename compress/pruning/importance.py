"""How much a channel matters: criteria by name, each from a group of channels to one score a channel."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator
from torch import Tensor, nn

from compress.pruning.groups import ChannelGroup
from results.registry import Registry

Importance = Callable[[Any], Tensor]
"""Takes a ``torch_pruning`` group with all its indices, gives float (channels,); larger matters more."""

CRITERIA = Registry[Callable[..., Any]]("importance")
"""Criteria by name: functions of a group, or classes whose instances are.

Their settings are keyword-only; one named ``seed`` has the pruning's seed where none is given. One that is
registered with ``needs={"gradients"}`` finds the gradients of the loss in the parameters' ``grad``. A class
that has a method ``look`` is given a ``Material`` before any group is scored; ``needs={"loss"}`` and
``needs={"images"}`` say what has to be in it.
"""
GRADIENTS, LOSS, IMAGES = "gradients", "loss", "images"

Loss = Callable[[nn.Module], Tensor]
"""Scalar loss of a network on some training data, always the same, through which gradients flow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a criterion may look at before it scores the groups of a network.

    Attributes:
        network: Network that is scored, in eval mode; it has to be left as it was.
        groups: Each group as it can be cut, with torch-pruning's group of all its channels.
        loss: Loss of a network, where there is one.
        images: Some inputs of the network, (N, ...), where there are any.
        seed: Seed of whatever draws.
    """

    network: nn.Module
    groups: tuple[tuple[ChannelGroup, Any], ...]
    loss: Loss | None = None
    images: Tensor | None = None
    seed: int = 0

    def given_loss(self) -> Loss:
        """The loss, which whoever registers with ``needs={"loss"}`` is sure to have."""
        assert self.loss is not None
        return self.loss

    def given_images(self) -> Tensor:
        """The inputs, which whoever registers with ``needs={"images"}`` is sure to have."""
        assert self.images is not None
        return self.images


def _checked(spec: str | dict[str, Any]) -> str | dict[str, Any]:
    """The same, if there is such a criterion with such settings."""
    name, options = _split(spec)
    CRITERIA.configured(name, options)
    return spec


CriterionSpec = Annotated[str | dict[str, Any], AfterValidator(_checked)]
"""Name of a criterion, or ``{"kind": name, ...}`` with its settings, as a recipe writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """A criterion at work.

    Attributes:
        name: Name in messages.
        score: Scores of a group.
        needs: Things it cannot do without: ``gradients``, ``loss``, ``images``.
        of_ones_own: Whether it is a function and no registered part.
    """

    name: str
    score: Importance
    needs: frozenset[str] = frozenset()
    of_ones_own: bool = False

    def refuse_without(self, loss: Loss | None, images: Tensor | None) -> None:
        """Raises a ValueError that names what the criterion needs and there is none of."""
        if loss is None and GRADIENTS in self.needs:
            raise ValueError(f"importance {self.name!r} reads gradients: pass a loss")
        if loss is None and LOSS in self.needs:
            raise ValueError(f"importance {self.name!r} asks for the loss of networks: pass a loss")
        if images is None and IMAGES in self.needs:
            raise ValueError(f"importance {self.name!r} looks at images: pass some")

    def look(self, material: Material) -> None:
        """Lets the criterion look, if it wants to."""
        if looks := getattr(self.score, "look", None):
            looks(material)


def criterion(spec: str | Mapping[str, Any] | Importance, seed: int = 0) -> Criterion:
    """The criterion that is asked for.

    Args:
        spec: Name of one of ``CRITERIA``; or a mapping of ``kind``, its name, and its settings; or a function
            of a group of your own.
        seed: Seed of a criterion that draws and is given none.

    Raises:
        ValueError: there is none of that name, or it has no such settings.
    """
    if not isinstance(spec, str | Mapping):
        return Criterion(name=getattr(spec, "__name__", repr(spec)), score=spec, of_ones_own=True)
    name, options = _split(spec)
    entry = CRITERIA[name]
    if "seed" in entry.settings:
        options = {"seed": seed, **options}
    score = entry.configured(options)
    return Criterion(
        name=name,
        score=score() if inspect.isclass(entry.part) else score,
        needs=entry.needs,
    )


def _split(spec: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if isinstance(spec, str):
        return spec, {}
    options = dict(spec)
    if not isinstance(name := options.pop("kind", None), str):
        raise ValueError(
            f"a criterion is its name, or a table with its name as kind and its settings: {spec}"
        )
    return name, options
