"""The passes of a step: whose gradient counts how much, who learns from whom, at which size."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from nas.rules.moment import Pass
from nas.supernet.supernet import Supernet
from runners.training.batches import channels_last
from runners.training.passes import run_passes, scaled
from runners.training.trainable import SharedWeights
from search_spaces.choice import Choice
from search_spaces.space import SearchSpace
from tests.runners.training.test_loop import digits, prepare, tiny_space


def test_the_gradient_of_a_step_is_the_sum_over_its_passes() -> None:
    space = tiny_space()
    supernet = Supernet(space)
    images, labels = digits(32)
    batch = channels_last(prepare(images, None))
    archs = [space.largest(), space.smallest()]
    total = {group: torch.zeros_like(flat) for group, flat in supernet.grad.items()}
    for arch in archs:
        supernet.zero_grad()
        run_passes(SharedWeights(supernet), batch, labels, [Pass(arch=arch)])
        for group, gradient in supernet.grad.items():
            total[group] += gradient
    supernet.zero_grad()
    run_passes(SharedWeights(supernet), batch, labels, [Pass(arch=arch) for arch in archs])
    for group, gradient in supernet.grad.items():
        torch.testing.assert_close(gradient, total[group])


def test_a_student_learns_from_its_teacher_and_not_from_labels() -> None:
    space = tiny_space()
    supernet = Supernet(space)
    images, labels = digits(32)
    batch = prepare(images, None)
    passes = [Pass(arch=space.largest()), Pass(arch=space.smallest(), teacher=0)]
    first, _ = run_passes(SharedWeights(supernet), batch, labels, passes)
    other, _ = run_passes(SharedWeights(supernet), batch, labels.flip(0), passes)
    assert first[0] != other[0]
    assert first[1] == other[1]


@pytest.mark.parametrize(
    ("gives", "words"),
    [
        (lambda x: x.missing, "fails on images of .8, 1, 8, 8.: AttributeError: 'Tensor' object has no"),
        (lambda x: {"out": x}, "gives a dict; it has to give one tensor, or a tuple of tensors"),
    ],
)
def test_a_network_that_fails_in_training_is_told_with_its_arch(gives: object, words: str) -> None:
    class Odd(torch.nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(64, width)

        def forward(self, x: torch.Tensor) -> object:
            return gives(self.layer(x.flatten(1)))  # type: ignore[operator]

    space = SearchSpace("odd", [Choice("width", (10, 12))], lambda arch: Odd(int(arch["width"])))
    images, labels = digits(8)
    supernet = Supernet(space)
    with pytest.raises(ValueError, match=f"in training, the network of arch {{'width': 12}} {words}"):
        run_passes(SharedWeights(supernet), prepare(images, None), labels, [Pass(arch={"width": 12})])


def test_auxiliary_outputs_add_their_loss_on_labels_and_do_not_teach() -> None:
    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own, self.other = torch.nn.Linear(64, 10), torch.nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.own(x.flatten(1)), self.other(x.flatten(1))

    space = SearchSpace("two", [Choice("a", (1,))], lambda arch: Two())
    images, labels = digits(8)
    batch, supernet = prepare(images, None), Supernet(space)
    (loss,), (network,) = run_passes(SharedWeights(supernet), batch, labels, [Pass(arch={"a": 1})])
    own, other = (F.cross_entropy(one, labels) for one in network(batch))
    torch.testing.assert_close(loss, own.detach() + 0.3 * other.detach())
    (wanted,) = torch.autograd.grad(0.3 * other, network.other.weight)
    torch.testing.assert_close(network.other.weight.grad, wanted)
    both = [Pass(arch={"a": 1}), Pass(arch={"a": 1}, teacher=0)]
    (_, taught), _ = run_passes(SharedWeights(supernet), batch, labels, both)
    torch.testing.assert_close(taught, 0.3 * other.detach(), msg="it learns nothing from itself")


def test_a_pass_at_another_resolution_sees_scaled_images() -> None:
    space = tiny_space()
    supernet = Supernet(space, seed=1)
    images, labels = digits(32)
    batch = channels_last(prepare(images, None))
    (small, full), _ = run_passes(
        SharedWeights(supernet),
        batch,
        labels,
        [Pass(arch=space.largest(), resolution=(6, 4)), Pass(arch=space.largest())],
    )
    with torch.no_grad():
        logits = supernet.subnet(space.largest())(scaled(batch, (6, 4)))
    assert small == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert small != full
    assert scaled(batch, (6, 4)).shape == (32, 1, 6, 4)


def test_weights_of_passes_weigh_their_gradients() -> None:
    space = tiny_space()
    supernet = Supernet(space, seed=1)
    images, labels = digits(32)
    batch = channels_last(prepare(images, None))
    run_passes(SharedWeights(supernet), batch, labels, [Pass(arch=space.largest())])
    whole = torch.cat(list(supernet.grad.values())).clone()
    supernet.zero_grad()
    run_passes(SharedWeights(supernet), batch, labels, [Pass(arch=space.largest(), weight=0.25)])
    torch.testing.assert_close(torch.cat(list(supernet.grad.values())), 0.25 * whole)


def test_a_rule_that_makes_no_sense_is_told_why() -> None:
    space = tiny_space()
    supernet = Supernet(space)
    images, labels = digits(8)
    batch = prepare(images, None)
    with pytest.raises(ValueError, match="gave no passes"):
        run_passes(SharedWeights(supernet), batch, labels, [])
    with pytest.raises(
        ValueError, match="pass 0 learn from pass 1, which has not run by then; give teachers"
    ):
        run_passes(
            SharedWeights(supernet),
            batch,
            labels,
            [Pass(arch=space.smallest(), teacher=1), Pass(arch=space.largest())],
        )
