"""Numbers for each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from results.records import Answer
from runners.tasks.task import TASKS, Task, shape_problem


@TASKS.register("regression")
@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """Numbers for each image; a network gives each as a multiple of its deviation, (N, values).

    The score is R squared, the share of the values' variance that is explained, as a mean over the values; 0
    where a network is no better than the mean. Values that are the same for all images of a split are left
    out.

    Attributes:
        error: Error that is minimised: ``squared``, or ``absolute``, which outliers move less.
        offset: Offset of each value: output * scale + offset; the mean over the training images where none is
            given.
        scale: Scale of each value; the deviation over the training images where none is given.
    """

    error: Literal["squared", "absolute"] = "squared"
    offset: tuple[float, ...] = ()
    scale: tuple[Annotated[float, Field(gt=0)], ...] = ()

    @property
    def metric(self) -> str:
        """Name of the score."""
        return "R squared"

    @property
    def answer(self) -> Answer:
        """The outputs times their scale, plus their offset."""
        return Answer(kind="values", offset=self.offset, scale=self.scale)

    def outputs(self, classes: int) -> int:
        """One for each value."""
        return classes

    def fitted(self, labels: Tensor, classes: Sequence[str]) -> Task:
        """The task with offset and scale of its values.

        Raises:
            ValueError: labels that are no finite numbers, of another number of values, or all the same; an
                offset or a scale of another number.
        """
        if labels.ndim != 2 or not labels.is_floating_point() or labels.shape[1] != len(classes):
            raise ValueError(
                f"the data have labels of {labels.dtype}, {tuple(labels.shape)}, where float numbers "
                f'(images, {len(classes)}) are wanted; task = "classification" is for classes'
            )
        if odd := (~labels.isfinite()).any(1).nonzero().flatten().tolist():
            raise ValueError(f"the label of training image #{odd[0]} is no finite number (NaN or infinity)")
        for what, given in (("offset", self.offset), ("scale", self.scale)):
            if given and len(given) != len(classes):
                raise ValueError(
                    f"task.{what} has {len(given)} numbers, and the data have {len(classes)} values"
                )
        exact = labels.double()
        spread = exact.std(0, correction=0)
        for name, deviation, mean in zip(classes, spread.tolist(), exact.mean(0).tolist(), strict=True):
            if deviation <= 1e-9 * abs(mean):
                raise ValueError(f"{name!r} is {mean:g} for every training image: there is nothing to learn")
        return replace(
            self,
            offset=self.offset or tuple(exact.mean(0).tolist()),
            scale=self.scale or tuple(spread.tolist()),
        )

    def loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Mean error of outputs (N, values) against values in deviations from their mean."""
        del label_smoothing  # which is for classes
        wanted = (targets - targets.new_tensor(self.offset)) / targets.new_tensor(self.scale)
        return (F.mse_loss if self.error == "squared" else F.l1_loss)(outputs, wanted)

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        """R squared of outputs with values, both (N, values), from 0 to 1.

        Raises:
            ValueError: shapes that do not belong together, no images, or nothing but values that are the
                same for all of them.
        """
        if outputs.shape != targets.shape or outputs.ndim != 2 or not len(targets):
            raise ValueError(
                f"R squared needs outputs and values (images, values), got shapes {tuple(outputs.shape)} and "
                f"{tuple(targets.shape)}"
            )
        wanted = targets.double()
        varied = (wanted != wanted[0]).any(0)
        if not varied.any():
            raise ValueError("no value differs between images, so there is nothing to explain")
        given = outputs.double() * wanted.new_tensor(self.scale) + wanted.new_tensor(self.offset)
        left = ((wanted - given) ** 2).sum(0)
        whole = ((wanted - wanted.mean(0)) ** 2).sum(0)
        return float((1 - left / whole)[varied].clamp(0, 1).mean())

    def problem(self, outputs: object, classes: int) -> str:
        """What is wrong with the outputs for two images; empty where they are (2, values)."""
        return shape_problem(outputs, classes, classes, "values")

    def logits(self, outputs: Tensor) -> Tensor:
        """Two for each value, (N * values, 2): a coin with the value as its logit.

        Whatever loss compares two such coins is least where both values are equal, so that what is made for
        classes teaches values too; differences far out count less than near the mean.
        """
        flat = outputs.reshape(-1, 1)
        return torch.cat([torch.zeros_like(flat), flat], 1)
