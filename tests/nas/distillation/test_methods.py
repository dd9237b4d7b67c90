"""Methods of distillation: each is its formula, and its gradients go to the student alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas.distillation import METHODS, FeatureShapes, Heard, Teaching
from nas.distillation.maps import Searched
from nas.distillation.methods.scale import Scale, unlike
from tests.nas.distillation import references

MAP, WIDE = (5, 4, 3, 3), (5, 6, 3, 3)


class Conv(nn.Module):
    """Two stages, of which the second halves the resolution, and a head."""

    def __init__(self, width: int, classes: int = 3) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(width, 2 * width, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x)).mean((2, 3)))


class Tokens(nn.Module):
    """A token for the class before those of a grid, and two layers."""

    def __init__(self, width: int = 12, classes: int = 3) -> None:
        super().__init__()
        self.patches, self.mark = nn.Conv2d(1, width, 2, 2), nn.Parameter(torch.randn(1, 1, width))
        self.blocks = nn.Sequential(*(nn.TransformerEncoderLayer(width, 2, 16, 0.1, batch_first=True),) * 2)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.blocks(torch.cat([self.mark.expand(len(x), -1, -1), tokens], 1))[:, 0])


def made(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return make()


def images(n: int = 5) -> Tensor:
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(7))


def arrays(*tensors: Tensor) -> list[NDArray[np.float64]]:
    return [one.detach().double().numpy() for one in tensors]


def heard(seed: int = 0) -> Heard:
    torch.manual_seed(seed)
    return Heard(
        student_logits=2 * torch.randn(6, 4),
        teacher_logits=3 * torch.randn(6, 4),
        student={"own": torch.randn(MAP, requires_grad=True)},
        teacher={"theirs": 2 + 3 * torch.randn(WIDE)},
    )


SHAPES = FeatureShapes(student={"own": torch.Size(MAP)}, teacher={"theirs": torch.Size(WIDE)})


def method(name: str, **settings: Any) -> Any:
    torch.manual_seed(1)
    return METHODS.configured(name, settings)(SHAPES)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_kd_and_dist_are_their_formulas(temperature: float) -> None:
    given = heard()
    student, teacher = arrays(given.student_logits, given.teacher_logits)
    assert float(method("kd", temperature=temperature)(given)) == pytest.approx(
        references.kd(student, teacher, temperature), rel=1e-5
    )
    found = method("dist", temperature=temperature, between=2.0, within=0.5)(given)
    assert float(found) == pytest.approx(references.dist(student, teacher, temperature, 2.0, 0.5), rel=1e-5)


@pytest.mark.parametrize("standardized", [False, True])
def test_features_are_the_squared_error_of_a_projection(standardized: bool) -> None:
    given, hints = heard(), method("features", standardized=standardized)
    student, teacher = arrays(given.student["own"], given.teacher["theirs"])
    weight, bias = arrays(hints.projections[0].weight[:, :, 0, 0], hints.projections[0].bias)
    wanted = references.hints(student, teacher, weight, bias, standardized)
    assert float(hints(given)) == pytest.approx(wanted, rel=1e-5)


def test_attention_relations_and_views_are_their_formulas() -> None:
    given = heard()
    student, teacher = arrays(given.student["own"], given.teacher["theirs"])
    assert float(method("attention", power=3.0)(given)) == pytest.approx(
        references.attention(student, teacher, 3.0), rel=1e-4
    )
    pooled = [one.mean((2, 3)) for one in (student, teacher)]
    found = method("relational", distance=1.5, angle=0.5)(given)
    assert float(found) == pytest.approx(references.relational(*pooled, 1.5, 0.5), rel=1e-4)
    same = torch.from_numpy(teacher[:, :4])
    wanted = references.views(student, teacher[:, :4])
    for view, loss in zip(("spatial", "frequency"), wanted, strict=True):
        assert float(unlike(torch.from_numpy(student), same, view)) == pytest.approx(loss, rel=1e-9)


def test_images_that_are_equal_have_a_gradient_all_the_same() -> None:
    """The distance of an image from itself is a root of zero."""
    given, relational = heard(), method("relational")
    twice = torch.ones(MAP, requires_grad=True)
    relational(Heard(**{**_fields(given), "student": {"own": twice}})).backward()
    assert twice.grad is not None
    assert twice.grad.isfinite().all()


def _fields(given: Heard) -> dict[str, Any]:
    return {name: getattr(given, name) for name in Heard.__slots__}


def test_a_searched_projection_is_the_mean_of_the_others_and_learns_its_shares() -> None:
    torch.manual_seed(0)
    searched, x = Searched(4, 6).eval(), torch.randn(MAP)
    with torch.no_grad():
        searched.strength.copy_(torch.tensor([1.0, 0.0, -1.0]))
        weights = np.exp([1.0, 0.0, -1.0]) / np.exp([1.0, 0.0, -1.0]).sum()
        wanted = sum(w * f(x) for w, f in zip(weights, searched.ways.values(), strict=True))
    torch.testing.assert_close(searched(x), wanted)
    searched(x).square().mean().backward()
    assert searched.strength.grad is not None
    assert searched.strength.grad.abs().max() > 0


def test_the_shallow_stages_come_first_and_alone() -> None:
    student, teacher = made(lambda: Conv(4), 0), made(lambda: Conv(6), 1).eval()
    layers = {"first": "first", "second": "second"}
    parts = [partial(METHODS["progressive"].part, layers=layers, share=0.5), METHODS["kd"].part]
    teaching = Teaching(student, [teacher], parts, example=images(2))
    moved, counts = {}, {}
    for progress in (0.0, 0.3, 0.6):
        student.zero_grad()
        with teaching.hearing(student) as own:
            outputs = student(images())
        loss, counts[progress] = teaching.loss(
            outputs, own, teaching.told(images()), images(), progress=progress
        )
        loss.backward()
        moved[progress] = {name for name, one in student.named_children() if _any_gradient(one)}
    assert moved == {0.0: {"first"}, 0.3: {"first", "second"}, 0.6: {"first", "second", "head"}}
    assert counts == {0.0: False, 0.3: False, 0.6: True}  # whether labels do


def _any_gradient(module: nn.Module) -> bool:
    return any(one.grad is not None and one.grad.abs().max() > 0 for one in module.parameters())


ALL = [
    *((name, {}) for name in METHODS),
    ("features", {"projection": "searched"}),
    ("features", {"projection": "mlp", "layers": {"second.0": "first.1"}}),
]


@pytest.mark.parametrize("kind", [lambda: Conv(6), Tokens], ids=["convolutions", "tokens"])
@pytest.mark.parametrize(("name", "settings"), ALL, ids=lambda one: str(one))
def test_gradients_flow_to_the_student_alone(
    name: str, settings: dict[str, Any], kind: Callable[[], nn.Module]
) -> None:
    student, teacher = made(lambda: Conv(4), 0), made(kind, 1).eval()
    if "layers" in settings and kind is Tokens:
        settings = {**settings, "layers": {"second.0": "blocks.0"}}
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    teaching = Teaching(student, [teacher], [METHODS.configured(name, settings)], example=images(2))
    with teaching.hearing(student) as own:
        outputs = student(images())
    loss, _ = teaching.loss(outputs, own, teaching.told(images()), images())
    loss.backward()
    assert float(loss) > 0
    assert _any_gradient(student)
    assert all(one.grad is None and one.requires_grad for one in teacher.parameters())
    assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())
    assert not teacher.training
    assert not any(part._forward_hooks for part in (*student.modules(), *teacher.modules()))


def test_what_runs_through_the_teacher_is_its_own_last_stage() -> None:
    """ScaleKD's teacher parameter perception: the projected feature in the place of the teacher's."""
    student, teacher = made(lambda: Conv(4), 0), made(lambda: Conv(6), 1).eval()
    layers = {"first": "first", "second": "second"}
    teaching = Teaching(student, [teacher], [partial(Scale, layers=layers, frequency=0.0)], example=images(2))
    scale: Any = teaching.methods[0][0].eval()  # type: ignore[index]
    with teaching.hearing(student) as own:
        outputs = student(images())
    loss, _ = teaching.loss(outputs, own, teaching.told(images()), images())
    wanted = teacher.second(teacher.first(images()))
    first, second = scale.projectors["spatial"]
    through = teacher.second(first(own["first"]))
    asked = second(own["second"], through.flatten(2).transpose(1, 2))
    by_hand = 0.08 * (unlike(through, wanted, "spatial") + unlike(asked, wanted, "spatial"))
    torch.testing.assert_close(loss, by_hand)
