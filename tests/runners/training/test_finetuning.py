"""Fine-tuning lowers the loss, listens to its teacher, and repeats exactly from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from results.records import Preprocessing
from runners.data.splits import Prepare
from runners.scoring.accuracy import accuracy
from runners.training.finetuning import FinetuneSettings, finetune

SETTINGS = FinetuneSettings(
    epochs=4,
    batch_size=32,
    learning_rate=3e-3,
    weight_decay=0.01,
    teacher_weight=0.7,
    temperature=2.0,
    gradient_clip=1.0,
)
PREPARE = Prepare(
    preprocessing=Preprocessing(channels=1, height=8, width=8, mean=(0.3,), std=(0.35,)), crop_padding=1
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small lose time to a second thread, and much of it where the cores are taken."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def digits(n: int = 320) -> tuple[Tensor, Tensor]:
    data = load_digits()
    return (torch.tensor(data.images[:n])[:, None] * 15.9).to(torch.uint8), torch.tensor(data.target[:n])


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(128, 10),
    )


def tuned(
    module: nn.Module, teacher: nn.Module | None, settings: FinetuneSettings = SETTINGS, seed: int = 0
) -> nn.Module:
    images, labels = digits()
    return finetune(
        module, teacher, images, labels, PREPARE, settings, seed=seed, on_step=lambda done, total: None
    )


def loss(module: nn.Module) -> float:
    images, labels = digits()
    with torch.no_grad():
        return float(F.cross_entropy(module.eval()(PREPARE(images, None)), labels))


@pytest.mark.parametrize("taught", [False, True])
def test_it_lowers_the_loss_and_ends_in_eval_mode(taught: bool) -> None:
    teacher = tuned(network(1), None, replace(SETTINGS, epochs=10)) if taught else None
    module = network()
    before = loss(module)
    result = tuned(module, teacher, replace(SETTINGS, epochs=10))
    assert result is module
    assert not any(part.training for part in result.modules())
    assert loss(result) < 0.5 * before
    images, labels = digits()
    assert accuracy(result, PREPARE(images, None), labels) > 0.8


def test_it_repeats_exactly_from_a_seed_and_differs_with_another() -> None:
    first, again, other = (tuned(network(), None, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])


def test_the_global_generator_plays_no_part() -> None:
    first = network()
    torch.manual_seed(99)
    second = network()
    torch.manual_seed(98)
    a, b = tuned(first, None).state_dict(), tuned(second, None).state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_the_teacher_is_not_changed() -> None:
    teacher = network(1).eval()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    tuned(network(), teacher)
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_with_all_weight_on_the_teacher_labels_do_not_matter() -> None:
    teacher, images, labels = network(1).eval(), *digits()
    settings = replace(SETTINGS, teacher_weight=1.0, epochs=1)
    states = [
        finetune(
            network(), teacher, images, targets, PREPARE, settings, seed=0, on_step=lambda *_: None
        ).state_dict()
        for targets in (labels, (labels + 1) % 10)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_no_epochs_change_nothing() -> None:
    module = network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    result = tuned(module, None, replace(SETTINGS, epochs=0))
    assert all(torch.equal(before[name], value) for name, value in result.state_dict().items())
    assert not result.training


def test_every_step_is_counted() -> None:
    images, labels = digits(100)
    steps: list[tuple[int, int]] = []
    finetune(
        network(),
        None,
        images,
        labels,
        PREPARE,
        replace(SETTINGS, epochs=2),
        seed=0,
        on_step=lambda done, total: steps.append((done, total)),
    )
    assert steps == [(step, 6) for step in range(1, 7)]


def test_fewer_images_than_a_batch_are_one_batch() -> None:
    images, labels = digits(20)
    steps: list[int] = []
    finetune(
        network(),
        None,
        images,
        labels,
        PREPARE,
        replace(SETTINGS, epochs=1, batch_size=64),
        seed=0,
        on_step=lambda done, total: steps.append(total),
    )
    assert steps == [1]


def test_a_loss_that_is_not_finite_is_said_with_what_helps() -> None:
    with pytest.raises(
        ValueError, match=r"fine-tuning: the loss is (nan|inf) at step \d+; lower its learning"
    ):
        tuned(network(), None, replace(SETTINGS, learning_rate=1e30, gradient_clip=1e30))
