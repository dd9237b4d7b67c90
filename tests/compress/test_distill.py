"""Distillation losses against closed forms."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from compress.distill import FeatureHint, distillation_loss


def _logits(seed: int) -> torch.Tensor:
    return torch.randn(6, 5, generator=torch.Generator().manual_seed(seed)) * 3


LABELS = torch.tensor([0, 1, 2, 3, 4, 0])


def test_a_student_that_agrees_with_its_teacher_loses_nothing():
    assert distillation_loss(_logits(0), _logits(0) + 7).item() == pytest.approx(0, abs=1e-5)


def test_the_divergence_is_that_of_the_softened_predictions():
    student, teacher = _logits(0), _logits(1)
    p, q = torch.softmax(teacher / 2, -1), torch.softmax(student / 2, -1)
    expected = 4 * (p * (p / q).log()).sum(-1).mean()
    assert distillation_loss(student, teacher, temperature=2).item() == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_the_weight_mixes_teacher_and_labels():
    student, teacher = _logits(0), _logits(1)
    alone = distillation_loss(student, teacher)
    labels = functional.cross_entropy(student, LABELS)
    mixed = distillation_loss(student, teacher, LABELS, teacher_weight=0.25)
    assert mixed.item() == pytest.approx((0.25 * alone + 0.75 * labels).item(), rel=1e-5)


def test_the_gradient_does_not_shrink_with_the_temperature():
    """Hinton et al., section 2.1: at high temperatures it becomes that of matching centred logits."""
    teacher = _logits(1)
    student = _logits(0).requires_grad_()
    distillation_loss(student, teacher, temperature=1e3).backward()
    centred = (student - student.mean(-1, keepdim=True)) - (teacher - teacher.mean(-1, keepdim=True))
    assert student.grad is not None
    assert torch.allclose(student.grad, centred.detach() / 5 / 6, atol=2e-3)


def test_no_gradient_reaches_the_teacher():
    teacher = _logits(1).requires_grad_()
    distillation_loss(_logits(0).requires_grad_(), teacher, LABELS).backward()
    assert teacher.grad is None


def test_a_hint_bridges_channels_and_sizes_and_can_be_learned():
    student, teacher = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 8, 8).requires_grad_()
    hint = FeatureHint(3, 5)
    loss = hint(student, teacher)
    loss.backward()
    assert teacher.grad is None
    assert hint.project.weight.grad is not None
    assert loss.shape == ()


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"same classes, got logits of shape \(6, 5\) and \(6, 4\)"):
        distillation_loss(_logits(0), _logits(0)[:, :4])
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        distillation_loss(_logits(0), _logits(0), temperature=0)
    with pytest.raises(ValueError, match=r"in \[0, 1\], got 2"):
        distillation_loss(_logits(0), _logits(0), teacher_weight=2)
