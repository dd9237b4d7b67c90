"""Methods that compare outputs: any teacher will do."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from nas.distillation.logits import distillation_loss
from nas.distillation.method import METHODS, FeatureShapes, Heard
from nas.distillation.methods.base import Comparing

Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]


@METHODS.register("kd")
class KD(Comparing):
    """Softened predictions of the teacher: KL divergence times the temperature's square.

    "Distilling the Knowledge in a Neural Network" (Hinton et al., 2015), section 2. The mean over several
    teachers has the gradient of one whose predictions are the mean of theirs.

    Args:
        shapes: Shapes of the features of student and teacher.
        temperature: Divisor of both logits.
        weight: Factor of its loss.
    """

    def __init__(self, shapes: FeatureShapes, *, temperature: Positive = 2.0, weight: Weight = 1.0) -> None:
        del shapes
        super().__init__(weight)
        self.temperature = temperature

    def forward(self, heard: Heard) -> Tensor:
        """The loss."""
        return distillation_loss(
            heard.student_logits, heard.teacher_logits, kind="kl", temperature=self.temperature
        )


@METHODS.register("dist")
class Dist(Comparing):
    """Correlations with the teacher's predictions: over the classes of an image, over the images of a class.

    "Knowledge Distillation from A Stronger Teacher" (Huang et al., NeurIPS 2022), equations 6 to 10: one less
    Pearson's correlation, so that a teacher that is surer of everything asks for nothing more.

    Args:
        shapes: Shapes of the features of student and teacher.
        temperature: Divisor of both logits; the loss is scaled by its square.
        between: Factor of the correlation over the classes of each image.
        within: Factor of the correlation over the images of a batch, class by class.
        weight: Factor of its loss.
    """

    def __init__(
        self,
        shapes: FeatureShapes,
        *,
        temperature: Positive = 2.0,
        between: Weight = 1.0,
        within: Weight = 1.0,
        weight: Weight = 1.0,
    ) -> None:
        del shapes
        super().__init__(weight)
        self.temperature, self.between, self.within = temperature, between, within

    def forward(self, heard: Heard) -> Tensor:
        """The loss."""
        student = (heard.student_logits / self.temperature).softmax(1)
        teacher = (heard.teacher_logits / self.temperature).softmax(1)
        loss = self.between * _uncorrelated(student, teacher)
        return self.temperature**2 * (loss + self.within * _uncorrelated(student.T, teacher.T))


def _uncorrelated(one: Tensor, other: Tensor) -> Tensor:
    """One less the mean of the rows' correlations."""
    one, other = one - one.mean(1, keepdim=True), other - other.mean(1, keepdim=True)
    sizes = (one.norm(dim=1) * other.norm(dim=1)).clamp(min=1e-8)
    return 1 - ((one * other).sum(1) / sizes).mean()
