"""Losses on a teacher's outputs: KL and the adaptive alpha-divergence, of softened predictions if so asked.

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


DISTILLATIONS = {"kl": kl, "alpha": adaptive_alpha}


def distillation_loss(
    student: Tensor, teacher: Tensor, *, kind: str = "kl", temperature: float = 1.0
) -> Tensor:
    """How far a student's softened predictions are from its teacher's.

    "Distilling the Knowledge in a Neural Network" (Hinton et al., 2015), section 2.

    Args:
        student: Logits of the student, (N, classes).
        teacher: Logits of the teacher, (N, classes); no gradient flows into them.
        kind: Name of the distance, one of ``DISTILLATIONS``.
        temperature: Divisor of both logits. The distance is scaled by its square, so that the gradient does
            not shrink with it (section 2.1).

    Returns:
        A scalar, averaged over the batch.

    Raises:
        ValueError: logits of different shapes, or a temperature that is not positive.
    """
    if student.shape != teacher.shape:
        raise ValueError(
            f"student and teacher must have the same classes, got logits of shape {tuple(student.shape)} and "
            f"{tuple(teacher.shape)}"
        )
    if temperature <= 0:
        raise ValueError(f"the temperature must be positive, got {temperature}")
    distance, teacher = DISTILLATIONS[kind], teacher.detach()
    if temperature == 1:
        return distance(student, teacher)
    return temperature**2 * distance(student / temperature, teacher / temperature)
