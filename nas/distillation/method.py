"""What a method of distillation is: a module made for a student and a teacher, which gives a loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from nas.distillation.taps import Pair, pairs_of
from results.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureShapes:
    """A student and a teacher as a method sees them when it is made.

    Attributes:
        student: Shapes of the features of the student's layers, by name, in the order in which they end.
        teacher: Shapes of the teacher's; None where it is a file, of which nothing but outputs is known.
    """

    student: Mapping[str, torch.Size]
    teacher: Mapping[str, torch.Size] | None

    def pairs(self, layers: Mapping[str, str]) -> tuple[Pair, ...]:
        """The layers that go together; see ``taps.pairs_of``.

        Raises:
            ValueError: the teacher has no features, or a layer is not there.
        """
        if self.teacher is None:
            raise ValueError(
                "a teacher in an ONNX file, or what was kept of one, has outputs and no features; right are "
                "a module (my.py:make), or methods that compare outputs"
            )
        return pairs_of(self.student, self.teacher, layers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What student and teacher gave for a batch, in float32.

    Attributes:
        student_logits: Logits of the student, (M, classes).
        teacher_logits: Logits of the teacher, likewise, without gradient.
        student: Features of the student by layer.
        teacher: Features of the teacher by layer, without gradient.
        progress: Share of the training that is done, in [0, 1).
        going_on: Runs the teacher on from a layer: ``going_on(start, feature, end)``, see ``taps.going_on``.
    """

    student_logits: Tensor
    teacher_logits: Tensor
    student: Mapping[str, Tensor]
    teacher: Mapping[str, Tensor]
    progress: float = 0.0
    going_on: Callable[[str, Tensor, str], Tensor] | None = None


class Method(Protocol):
    """A method: an ``nn.Module`` whose parameters are trained with the student and gone afterwards.

    Attributes:
        weight: Factor of its loss.
        pairs: Layers whose features it reads.
        compares_logits: Whether it reads the logits, so that both have to have the same classes.
    """

    weight: float
    pairs: tuple[Pair, ...]
    compares_logits: bool

    def __call__(self, heard: Heard) -> Tensor:
        """The loss, a scalar, the mean over the batch."""
        ...

    def alone(self, progress: float) -> bool:
        """Whether nothing else counts now: no other method and no label."""
        ...


METHODS: Registry[Callable[..., Method]] = Registry("method of distillation")
"""Methods by name: ``f(shapes, *, ...settings)`` gives one. A setting ``temperature`` has the recipe's."""
