"""Losses that teach a smaller network what a larger one knows.

"Distilling the Knowledge in a Neural Network" (Hinton et al., 2015). They are plain functions of logits,
for the training loop that is passed in.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


def distillation_loss(
    logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor | None = None,
    *,
    temperature: float = 4.0,
    teacher_weight: float = 0.5,
) -> Tensor:
    """Cross-entropy with the labels, mixed with the divergence from the teacher's softened predictions.

    Args:
        logits: of the student, (B, classes).
        teacher_logits: (B, classes); no gradient flows into them.
        labels: class indices (B,); without them the teacher is all there is.
        temperature: divides both logits; the divergence is scaled by its square, so that its gradient
            does not shrink with it (section 2.1).
        teacher_weight: of the divergence, in [0, 1]; the labels have the rest.

    Returns:
        A scalar, averaged over the batch.

    Raises:
        ValueError: logits of different shapes, a temperature that is not positive, a weight outside [0, 1].
    """
    if logits.shape != teacher_logits.shape:
        raise ValueError(
            f"student and teacher must have the same classes, got logits of shape {tuple(logits.shape)} and "
            f"{tuple(teacher_logits.shape)}"
        )
    if temperature <= 0:
        raise ValueError(f"the temperature must be positive, got {temperature}")
    if not 0 <= teacher_weight <= 1:
        raise ValueError(f"the teacher's weight must be in [0, 1], got {teacher_weight}")
    divergence = temperature**2 * functional.kl_div(
        functional.log_softmax(logits / temperature, dim=-1),
        functional.log_softmax(teacher_logits.detach() / temperature, dim=-1),
        reduction="batchmean",
        log_target=True,
    )
    if labels is None:
        return divergence
    return teacher_weight * divergence + (1 - teacher_weight) * functional.cross_entropy(logits, labels)


class FeatureHint(nn.Module):
    """Mean squared distance between a student's feature map and a teacher's, after a learned projection.

    "FitNets: Hints for Thin Deep Nets" (Romero et al., ICLR 2015), equation 3. The projection is a 1x1
    convolution that goes with the student's optimiser and is thrown away afterwards; a map of another size
    is brought to the teacher's by bilinear interpolation, where FitNets uses a larger kernel.
    """

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(student_channels, teacher_channels, 1)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The distance, a scalar.

        Args:
            student: (B, student_channels, h, w).
            teacher: (B, teacher_channels, H, W); no gradient flows into it.
        """
        projected = self.project(student)
        if projected.shape[-2:] != teacher.shape[-2:]:
            projected = functional.interpolate(
                projected, teacher.shape[-2:], mode="bilinear", align_corners=False
            )
        return functional.mse_loss(projected, teacher.detach())
