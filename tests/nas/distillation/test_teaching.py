"""Teachers: several of them, what does not fit, and layers that find one another."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nas.distillation import KD, METHODS, Features, Teaching, kl, teacher_identity
from nas.distillation.taps import features_of, going_on, pairs_of
from tests.nas.distillation.test_methods import Conv, Tokens, images, made


def test_the_mean_over_teachers_learns_from_the_mean_of_their_predictions() -> None:
    student, teachers = made(lambda: Conv(4), 0), [made(lambda: Conv(6), seed).eval() for seed in (1, 2)]
    teaching = Teaching(student, teachers, [partial(KD, temperature=1.0)], example=images(2))
    outputs = student(images()).detach().requires_grad_()
    loss, _ = teaching.loss(outputs, {}, teaching.told(images()), images())
    (gradient,) = torch.autograd.grad(loss, outputs)
    mean = torch.stack([one(images()).softmax(1) for one in teachers]).mean(0).detach()
    (wanted,) = torch.autograd.grad(kl(outputs, mean.log()), outputs)
    torch.testing.assert_close(gradient, wanted)


def test_stages_find_one_another_by_resolution() -> None:
    shapes, _ = features_of(made(lambda: Conv(4), 0), images(2))
    theirs, _ = features_of(made(lambda: Conv(6), 0), images(2))
    found = pairs_of(shapes, theirs, {})
    assert [(one.student, one.teacher) for one in found] == [("first", "first"), ("second", "second")]
    tokens, _ = features_of(made(Tokens, 0), images(2))
    (last,) = pairs_of(shapes, tokens, {})
    assert (last.student, last.teacher) == ("second", "blocks")
    assert (last.student_channels, last.teacher_channels) == (8, 12)


def test_a_layer_that_is_not_there_is_told_with_the_nearest() -> None:
    student, teacher = made(lambda: Conv(4), 0), made(lambda: Conv(6), 1).eval()
    with pytest.raises(ValueError, match="unknown layer of the teacher 'secnd'. Did you mean 'second'"):
        Teaching(student, [teacher], [partial(Features, layers={"first": "secnd"})], example=images(2))
    with pytest.raises(ValueError, match="unknown layer of the student 'head'"):
        Teaching(student, [teacher], [partial(Features, layers={"head": "second"})], example=images(2))


def test_what_does_not_fit_is_told() -> None:
    student = made(lambda: Conv(4), 0)
    others = made(lambda: Conv(4, classes=7), 1).eval()
    with pytest.raises(ValueError, match=r"outputs of \(2, 7\) .* network of \(2, 3\).* same classes"):
        Teaching(student, [others], [KD], example=images(2))
    Teaching(student, [others], [Features], example=images(2))  # features do not ask
    wide = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.LazyLinear(3)).eval()
    wide(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"the teacher \(Sequential\) fails on images of \(1, 8, 8\)"):
        Teaching(student, [wide], [KD], example=images(2))

    def file(given: Tensor) -> Tensor:
        return torch.zeros(len(given), 3)

    with pytest.raises(ValueError, match="in an ONNX file, .* has outputs and no features"):
        Teaching(student, [file], [Features], example=images(2))
    with pytest.raises(ValueError, match="teaching needs a teacher"):
        Teaching(student, [], [KD], example=images(2))


def test_going_on_backwards_is_refused() -> None:
    teacher = made(lambda: Conv(4), 0).eval()
    feature = torch.zeros(5, 8, 4, 4, requires_grad=True)
    with pytest.raises(ValueError, match="layer 'first' of the teacher does not run after 'second'"):
        going_on(teacher, images(), "second", feature, "first")
    assert not any(part._forward_hooks for part in teacher.modules())
    assert torch.is_grad_enabled()


def test_making_a_lesson_changes_nothing_and_draws_by_its_seed() -> None:
    student, teacher = made(lambda: Conv(4), 0).train(), made(lambda: Conv(6), 1).eval()
    before = {key: value.clone() for key, value in student.state_dict().items()}
    torch.manual_seed(5)
    drawn = torch.get_rng_state()
    first, again, other = (
        Teaching(student, [teacher], [METHODS["features"].part], example=images(2), seed=seed)
        for seed in (0, 0, 1)
    )
    assert torch.equal(drawn, torch.get_rng_state())
    assert student.training
    assert all(torch.equal(before[key], value) for key, value in student.state_dict().items())
    weights = [next(one.parameters()) for one in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_what_tells_teachings_apart() -> None:
    student = made(lambda: Conv(4), 0)
    one, other = (made(lambda: Conv(6), seed).eval() for seed in (1, 2))
    teach = partial(Teaching, student, example=images(2))
    found = {
        teach([one], [KD]).identity(),
        teach([other], [KD]).identity(),
        teach([one], [partial(KD, temperature=3.0)]).identity(),
        teach([one, other], [KD]).identity(),
        teach([one], [Features]).identity(),
    }
    assert len(found) == 5
    assert teach([one], [KD]).identity() in found
    assert teacher_identity(one) != teacher_identity(other)


def test_the_page_has_a_line_for_each_method() -> None:
    page = (Path(__file__).parents[3] / "docs" / "teachers.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(METHODS)
