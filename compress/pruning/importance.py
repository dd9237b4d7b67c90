"""How much a channel matters: criteria by name, each from a group of channels to one score a channel."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import torch_pruning as tp
from pydantic import AfterValidator, Field
from torch import Tensor

from results.registry import Registry

Importance = Callable[[Any], Tensor]
"""Takes a ``torch_pruning`` group with all its indices, gives float (channels,); larger matters more."""

CRITERIA = Registry[Callable[..., Any]]("importance")
"""Criteria by name: functions of a group, or classes whose instances are.

Their settings are keyword-only; one named ``seed`` has the pruning's seed where none is given. One that is
registered with ``needs={"gradients"}`` finds the gradients of the loss in the parameters' ``grad``.
"""
GRADIENTS = "gradients"


@CRITERIA.register("magnitude")
def magnitude(group: Any, *, p: Annotated[float, Field(gt=0)] = 2.0) -> Tensor:
    """Norm of every weight that goes with the channel, averaged over the layers it runs through.

    "DepGraph: Towards Any Structural Pruning" (Fang et al., CVPR 2023), section 3.3.

    Args:
        group: The channels.
        p: Order of the norm.
    """
    scores: Tensor = tp.importance.GroupMagnitudeImportance(p=p)(group)
    return scores


@CRITERIA.register("l2")
def l2(group: Any) -> Tensor:
    """``magnitude`` with the Euclidean norm."""
    return magnitude(group, p=2)


@CRITERIA.register("l1")
def l1(group: Any) -> Tensor:
    """``magnitude`` with the sum of absolute values."""
    return magnitude(group, p=1)


@CRITERIA.register("taylor", needs={GRADIENTS})
def taylor(group: Any) -> Tensor:
    """First-order estimate of the loss without the channel.

    "Importance Estimation for Neural Network Pruning" (Molchanov et al., CVPR 2019), equation 8.
    """
    scores: Tensor = tp.importance.GroupTaylorImportance()(group)
    return scores


@CRITERIA.register("lamp")
def lamp(group: Any, *, p: Annotated[float, Field(gt=0)] = 2.0) -> Tensor:
    """Norm over that of all channels at least as large, made to be compared between layers.

    "Layer-adaptive Sparsity for the Magnitude-based Pruning" (Lee et al., ICLR 2021), with whole channels in
    the place of single weights.

    Args:
        group: The channels.
        p: Order of the norm.
    """
    scores: Tensor = tp.importance.LAMPImportance(p=p)(group)
    return scores


@CRITERIA.register("random")
class Random:
    """Random scores, the control: any other criterion has to beat it.

    Args:
        seed: Seed of the draws; the one of the run where none is given.
    """

    def __init__(self, *, seed: Annotated[int, Field(ge=0)] = 0) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, group: Any) -> Tensor:
        """Uniform scores in [0, 1), float (channels,)."""
        return torch.rand(len(group[0].idxs), generator=self._generator)


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
        needs_gradients: Whether it cannot do without the gradients of a loss.
    """

    name: str
    score: Importance
    needs_gradients: bool


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
        return Criterion(name=getattr(spec, "__name__", repr(spec)), score=spec, needs_gradients=False)
    name, options = _split(spec)
    entry = CRITERIA[name]
    if "seed" in entry.settings:
        options = {"seed": seed, **options}
    score = entry.configured(options)
    return Criterion(
        name=name,
        score=score() if inspect.isclass(entry.part) else score,
        needs_gradients=GRADIENTS in entry.needs,
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
