"""Distances to a teacher's outputs: against closed forms in float64, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import Tensor

from nas.distillation import adaptive_alpha, distillation_loss, kl

Floats = NDArray[np.float64]


def logits(seed: int, scale: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (scale * torch.randn(16, 10, generator=generator) for _ in range(2))
    return student.requires_grad_(), teacher


def reference(student: Tensor, teacher: Tensor) -> tuple[float, Floats]:
    """The adaptive divergence and its gradient with respect to the student's logits, from the definition."""
    log_q = log_softmax(student.detach().double().numpy(), axis=1)
    log_p = log_softmax(teacher.double().numpy(), axis=1)
    q, p = np.exp(log_q), np.exp(log_p)
    inverse = np.minimum(q / p, 5.0)
    left = (q * (inverse - 1)).sum(axis=1) / 2
    right = (p * (log_p - log_q)).sum(axis=1)
    # d log q_i / d z_j = [i = j] - q_j. The gradient is E_q[w^-1 grad log q], or of KL -E_p[grad log q].
    pull = q * inverse
    left_gradient = pull - pull.sum(axis=1, keepdims=True) * q
    right_gradient = q - p
    takes_left = (left > right)[:, None]
    gradient = np.where(takes_left, left_gradient, right_gradient) / len(q)
    return float(np.maximum(left, right).mean()), gradient


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0, 8.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_adaptive_alpha_divergence_and_its_gradient_are_those_of_the_paper(
    seed: int, scale: float
) -> None:
    student, teacher = logits(seed, scale)
    loss = adaptive_alpha(student, teacher)
    loss.backward()
    value, gradient = reference(student, teacher)
    assert loss.item() == pytest.approx(value, rel=1e-4, abs=1e-6)
    assert student.grad is not None
    np.testing.assert_allclose(student.grad.numpy(), gradient, rtol=1e-3, atol=1e-6)


def test_both_sides_are_taken_somewhere() -> None:
    """KL where the student lacks what its teacher believes, alpha -1 where it is less sure of it."""
    teacher = torch.tensor([[4.0, 0.0, 0.0]])
    lacking, unsure = torch.tensor([[-6.0, 0.0, 0.0]]), torch.zeros(1, 3)
    assert adaptive_alpha(lacking, teacher).item() == pytest.approx(kl(lacking, teacher).item())
    assert adaptive_alpha(unsure, teacher).item() > kl(unsure, teacher).item() + 0.1


def test_kl_is_kl_and_its_gradient_is_cross_entropys() -> None:
    student, teacher = logits(1, 2.0)
    loss = kl(student, teacher)
    (ours,) = torch.autograd.grad(loss, student)
    targets = teacher.softmax(dim=1)
    (theirs,) = torch.autograd.grad(F.cross_entropy(student, targets), student)
    torch.testing.assert_close(ours, theirs)
    log_q = log_softmax(student.detach().double().numpy(), axis=1)
    log_p = log_softmax(teacher.double().numpy(), axis=1)
    assert loss.item() == pytest.approx(float((np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean()), rel=1e-5)


def test_alpha_near_one_is_kl() -> None:
    """The general formula, E_q[w^a - 1] / (a (a - 1)), tends to what is computed for alpha 1."""
    student, teacher = logits(2, 1.0)
    log_q = log_softmax(student.detach().double().numpy(), axis=1)
    log_p = log_softmax(teacher.double().numpy(), axis=1)
    alpha = 1 - 1e-6
    near = (np.exp(log_q) * (np.exp(alpha * (log_p - log_q)) - 1)).sum(axis=1) / (alpha * (alpha - 1))
    assert kl(student, teacher).item() == pytest.approx(float(near.mean()), rel=1e-3)


@pytest.mark.parametrize("loss", [kl, adaptive_alpha])
def test_it_is_zero_with_no_gradient_where_both_agree(loss) -> None:  # type: ignore[no-untyped-def]
    student, _ = logits(3, 2.0)
    value = loss(student, student.detach())
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-6


@pytest.mark.parametrize("loss", [kl, adaptive_alpha])
def test_extreme_outputs_stay_finite(loss) -> None:  # type: ignore[no-untyped-def]
    student = torch.tensor([[300.0, -300.0], [-80.0, 80.0]], requires_grad=True)
    teacher = torch.tensor([[-300.0, 300.0], [-80.0, 80.0]])
    value = loss(student, teacher)
    value.backward()
    assert torch.isfinite(value)
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def _six(seed: int) -> Tensor:
    return torch.randn(6, 5, generator=torch.Generator().manual_seed(seed)) * 3


def test_a_student_that_agrees_with_its_teacher_loses_nothing() -> None:
    assert distillation_loss(_six(0), _six(0) + 7).item() == pytest.approx(0, abs=1e-5)


def test_the_divergence_is_that_of_the_softened_predictions() -> None:
    student, teacher = _six(0), _six(1)
    p, q = torch.softmax(teacher / 2, -1), torch.softmax(student / 2, -1)
    expected = 4 * (p * (p / q).log()).sum(-1).mean()
    assert distillation_loss(student, teacher, temperature=2).item() == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_the_gradient_does_not_shrink_with_the_temperature() -> None:
    """Hinton et al., section 2.1: at high temperatures it becomes that of matching centred logits."""
    teacher = _six(1)
    student = _six(0).requires_grad_()
    distillation_loss(student, teacher, temperature=1e3).backward()
    centred = (student - student.mean(-1, keepdim=True)) - (teacher - teacher.mean(-1, keepdim=True))
    assert student.grad is not None
    assert torch.allclose(student.grad, centred.detach() / 5 / 6, atol=2e-3)


def test_no_gradient_reaches_the_teacher() -> None:
    teacher = _six(1).requires_grad_()
    distillation_loss(_six(0).requires_grad_(), teacher, temperature=2).backward()
    assert teacher.grad is None


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"same classes, got logits of shape \(6, 5\) and \(6, 4\)"):
        distillation_loss(_six(0), _six(0)[:, :4])
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        distillation_loss(_six(0), _six(0), temperature=0)
