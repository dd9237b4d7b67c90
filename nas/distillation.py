"""Losses on a teacher's outputs: KL, the adaptive alpha-divergence, and KL mixed with the loss on labels.

The names are the recipe's: ``train.distillation``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_CLIP = 5.0  # largest importance ratio


def kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) of logits (N, classes), the mean over the batch.

    Its gradient is that of the cross-entropy against the teacher's probabilities.
    """
    return F.kl_div(
        student.log_softmax(dim=1), teacher.log_softmax(dim=1), reduction="batchmean", log_target=True
    )


def adaptive_alpha(student: Tensor, teacher: Tensor) -> Tensor:
    """The larger of the alpha-divergences with alpha -1 and 1, image by image; the mean over the batch.

    "AlphaNet: Improved Training of Supernets with Alpha-Divergence" (Wang et al., ICML 2021), sections 3.2
    and 3.3: KL (alpha 1) punishes a student that gives too little to what its teacher believes and hardly
    one that gives too much elsewhere; alpha -1 does the reverse. With p the teacher, q the student and
    w = p / q, the divergence is E_q[w^a - 1] / (a (a - 1)) and its gradient -E_q[w^a grad log q] / a, in both
    of which w^a is clipped at 5. KL is taken exactly: as an expectation over p it has no ratio to clip.

    Args:
        student: logits, (N, classes), float32.
        teacher: logits, (N, classes), without gradient.
    """
    log_q, log_p = student.log_softmax(dim=1), teacher.log_softmax(dim=1)
    p = log_p.exp()
    right = (p * (log_p - log_q)).sum(dim=1)
    q = log_q.detach().exp()
    ratio = (log_q.detach() - log_p).exp().clamp(max=_CLIP)  # w^-1
    value = (q * (ratio - 1)).sum(dim=1) / 2
    pull = (q * ratio * log_q).sum(dim=1)  # its gradient is the divergence's
    left = value + pull - pull.detach()
    return torch.where(left.detach() > right.detach(), left, right).mean()


def distillation_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor | None = None,
    *,
    temperature: float = 4.0,
    teacher_weight: float = 0.5,
) -> Tensor:
    """Cross-entropy with the labels, mixed with KL from the teacher's softened predictions.

    "Distilling the Knowledge in a Neural Network" (Hinton et al., 2015), section 2.

    Args:
        student: Logits of the student, (B, classes).
        teacher: Logits of the teacher, (B, classes); no gradient flows into them.
        labels: Class indices, (B,), int64; without them the teacher is all there is.
        temperature: Divisor of both logits. KL is scaled by its square, so that the gradient does not shrink
            with it (section 2.1).
        teacher_weight: Weight of KL, in [0, 1]; the labels have the rest.

    Returns:
        A scalar, averaged over the batch.

    Raises:
        ValueError: logits of different shapes, a temperature that is not positive, a weight outside [0, 1].
    """
    if student.shape != teacher.shape:
        raise ValueError(
            f"student and teacher must have the same classes, got logits of shape {tuple(student.shape)} and "
            f"{tuple(teacher.shape)}"
        )
    if temperature <= 0:
        raise ValueError(f"the temperature must be positive, got {temperature}")
    if not 0 <= teacher_weight <= 1:
        raise ValueError(f"the teacher's weight must be in [0, 1], got {teacher_weight}")
    divergence = temperature**2 * kl(student / temperature, teacher.detach() / temperature)
    if labels is None:
        return divergence
    return teacher_weight * divergence + (1 - teacher_weight) * F.cross_entropy(student, labels)


DISTILLATIONS = {"kl": kl, "alpha": adaptive_alpha}
