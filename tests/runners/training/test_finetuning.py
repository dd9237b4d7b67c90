"""Fine-tuning lowers the loss, listens to its teacher, and repeats exactly from a seed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.utils import weight_norm

from nas.distillation import KD, Features
from nas.distillation.teaching import MakeMethod
from results.records import Preprocessing
from runners.data.splits import Prepare
from runners.scoring.score import score
from runners.training.batches import TrainingData, batches
from runners.training.finetuning import Taught, digest, finetune
from runners.training.loop import DivergedError
from runners.training.mixing import Mix
from runners.training.settings import TrainSettings
from runners.training.threads import computing_with
from runners.training.trainable import OneNetwork
from runners.training.watch import Watch

SETTINGS = TrainSettings(
    epochs=4,
    batch_size=32,
    learning_rate=3e-3,
    weight_decay=0.01,
    warmup_epochs=0.5,
    label_smoothing=0.0,
    gradient_clip=1.0,
    average_decay=0.0,
    checkpoint_s=0.0,  # after every step
)
PREPARE = Prepare(
    preprocessing=Preprocessing(channels=1, height=8, width=8, mean=(0.3,), std=(0.35,)), crop_padding=1
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small lose time to a second thread, and much of it where the cores are taken."""
    with computing_with(1):
        yield


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


def data(n: int = 320) -> TrainingData:
    images, labels = digits(n)
    return TrainingData(images=images, labels=labels, prepare=PREPARE)


def by(teacher: nn.Module | None) -> Taught:
    return Taught(teachers=(teacher,) if teacher else ())


def tuned(
    module: nn.Module, teacher: nn.Module | None, settings: TrainSettings = SETTINGS, seed: int = 0
) -> nn.Module:
    return finetune(module, data(), settings, taught=by(teacher), seed=seed)


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
    assert score(result, PREPARE(images, None), labels) > 0.8


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
    taught, known = replace(by(network(1).eval()), teacher_weight=1.0), data()
    states = [
        finetune(
            network(), replace(known, labels=labels), replace(SETTINGS, epochs=1), taught=taught, seed=0
        ).state_dict()
        for labels in (known.labels, (known.labels + 1) % 10)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_loss_is_hintons() -> None:
    """The gradient that the one step leaves behind is that of the formula."""
    student, teacher, known = network(), network(1).eval(), data(32)
    student[6].p = 0.0  # no dropout
    wanted = copy.deepcopy(student).train()
    (images, labels), *_ = batches(known, batch_size=32, seed=0, epoch=0)
    soft = F.kl_div(
        (wanted(images) / 2).log_softmax(1),
        (teacher(images) / 2).softmax(1).detach(),
        reduction="batchmean",
    )
    wanted.zero_grad()
    (0.3 * 4 * soft + 0.7 * F.cross_entropy(wanted(images), labels)).backward()
    taught = replace(by(teacher), teacher_weight=0.3)
    finetune(student, known, replace(SETTINGS, epochs=1, gradient_clip=1e9), taught=taught, seed=0)
    for mine, theirs in zip(student.parameters(), wanted.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_no_epochs_change_nothing() -> None:
    module = network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    result = tuned(module, None, replace(SETTINGS, epochs=0))
    assert all(torch.equal(before[name], value) for name, value in result.state_dict().items())
    assert not result.training


def test_every_step_is_counted() -> None:
    steps: list[tuple[int, int]] = []
    watch = Watch(step=lambda done, total: steps.append((done, total)))
    settings = replace(SETTINGS, epochs=2)
    finetune(network(), data(100), settings, seed=0, watch=watch)
    assert steps == [(step, 6) for step in range(1, 7)]


def test_fewer_images_than_a_batch_are_one_batch() -> None:
    steps: list[int] = []
    watch = Watch(step=lambda done, total: steps.append(total))
    settings = replace(SETTINGS, epochs=1, batch_size=64)
    finetune(network(), data(20), settings, seed=0, watch=watch)
    assert steps == [1]


def test_a_loss_that_is_not_finite_is_said_with_what_helps() -> None:
    with pytest.raises(
        DivergedError, match=r"fine-tuning: the .* is (nan|inf) at step \d+; lower its learning rate"
    ):
        tuned(network(), None, replace(SETTINGS, learning_rate=1e30, gradient_clip=1e30))


# -- the settings of the supernet's training ------------------------------------------------------

EVERYTHING = replace(SETTINGS, epochs=2, precision="bf16", average_decay=0.9, label_smoothing=0.1)
MIX = Mix(classes=10, mixup=0.2, cutmix=1.0)


class KilledError(Exception):
    pass


FEATURES = (KD, partial(Features, layers={"4": "4"}, projection="mlp"))


@pytest.mark.parametrize(("kill_at", "methods"), [(7, (KD,)), (10, (KD,)), (13, FEATURES)])
def test_a_killed_fine_tuning_goes_on_as_if_nothing_had_been(
    tmp_path: Path, kill_at: int, methods: tuple[MakeMethod, ...]
) -> None:
    """With bf16, mixing, an average, dropout, BatchNorm statistics and projections of a teacher's features,
    within an epoch and at its end."""

    def train(checkpoint: Path | None, kill_at: int = 0) -> dict[str, Tensor]:
        def step(done: int, total: int) -> None:
            if done == kill_at:
                raise KilledError

        taught = replace(by(network(1).eval()), methods=methods)
        known, watch = replace(data(), mix=MIX), Watch(step=step)
        begun = network().to(memory_format=torch.channels_last)
        done = finetune(begun, known, EVERYTHING, taught=taught, seed=3, checkpoint=checkpoint, watch=watch)
        return done.state_dict()

    whole = train(None)
    with pytest.raises(KilledError):
        train(tmp_path / "checkpoint", kill_at)
    continued = train(tmp_path / "checkpoint")
    assert all(torch.equal(whole[name], continued[name]) for name in whole)


@pytest.mark.parametrize(
    "changed", [{"precision": "bf16"}, {"average_decay": 0.9}, {"label_smoothing": 0.3}, {"mix": MIX}]
)
def test_every_setting_of_the_supernets_training_is_there(changed: dict[str, Any]) -> None:
    settings, known = replace(SETTINGS, epochs=1), data()
    if "mix" in changed:
        other = finetune(network(), replace(known, **changed), settings, seed=0)
    else:
        other = tuned(network(), None, replace(settings, **changed))
    plain = tuned(network(), None, settings).state_dict()
    assert not torch.equal(plain["3.weight"], other.state_dict()["3.weight"])
    assert {tensor.dtype for tensor in other.parameters()} == {torch.float32}


def test_the_average_is_what_is_given_back_statistics_included() -> None:
    """Recomputed from the network after each step: decay (s + 1) / (s + 10), at most the one that is set."""
    module = network()
    expected = {name: value.clone() for name, value in module.state_dict().items()}

    def follow(step: int, total: int) -> None:
        decay = min(0.5, step / (step + 9))
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                expected[name].mul_(decay).add_(value, alpha=1 - decay)

    settings = replace(SETTINGS, average_decay=0.5)
    watch = Watch(step=follow)
    done = finetune(module, data(), settings, seed=0, watch=watch)
    assert done is module
    for name, value in done.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, expected[name])


def test_biases_and_norms_do_not_decay_and_frozen_parameters_stay() -> None:
    """All weight on a teacher that agrees: no gradient to speak of, so what moves is moved by decay."""
    module = network()
    module[6].p = 0.0
    module[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in module.named_parameters()}
    known = replace(data(32), labels=torch.zeros(32, dtype=torch.int64))
    settings = replace(SETTINGS, epochs=1, learning_rate=1e-1, weight_decay=1.0, warmup_epochs=0)
    finetune(module, known, settings, seed=0)
    assert torch.equal(module[0].weight, before["0.weight"])
    # AdamW's first step is the learning rate in every element; decay takes a tenth of the value away.
    for name in ("3.weight", "7.weight"):
        moved = module.get_parameter(name).detach() - 0.9 * before[name]
        assert moved.abs().max() <= 0.1 + 1e-5
        assert (module.get_parameter(name).detach() - before[name]).abs().max() > 0.1
    for name in ("1.weight", "7.bias"):
        assert (module.get_parameter(name).detach() - before[name]).abs().max() <= 0.1 + 1e-5


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_average_is_made_of_a_network_whose_weight_a_hook_computes() -> None:
    """It holds a weight with a history, which torch refuses to copy."""
    module = nn.Sequential(weight_norm(nn.Linear(3, 2)))
    module(torch.ones(1, 3))
    student = OneNetwork(module)
    average = {name: value.detach() * 2 for name, value in student.weights().items()}
    done = student.averaged(average)
    torch.testing.assert_close(done(torch.ones(1, 3)), module(torch.ones(1, 3)) * 2)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    checkpoint, settings = tmp_path / "checkpoint", replace(SETTINGS, epochs=1)
    finetune(network(), data(), settings, seed=0, checkpoint=checkpoint)
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(ValueError, match="of other parameters than the networks have"):
        finetune(other, data(), settings, seed=0, checkpoint=checkpoint)


@pytest.mark.parametrize("other", ["network", "seed", "batch", "rate", "average"])
def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path, other: str) -> None:
    """Of weights of equal shapes, too: those of another network, and an average that is kept no more."""
    checkpoint = tmp_path / "checkpoint"
    first = replace(SETTINGS, epochs=1, average_decay=0.5)
    finetune(network(), data(), first, seed=0, checkpoint=checkpoint)
    changed: dict[str, dict[str, Any]] = {
        "batch": {"batch_size": 16},
        "rate": {"learning_rate": 1e-3},
        "average": {"average_decay": 0.0},
    }
    settings = replace(first, **changed.get(other, {}))
    module, seed = network(int(other == "network")), int(other == "seed")
    before = copy.deepcopy(module.state_dict())
    words = "other parameters .* or of another average_decay" if other == "average" else "with other settings"
    with pytest.raises(ValueError, match=words):
        finetune(module, data(), settings, seed=seed, checkpoint=checkpoint)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    often = replace(first, checkpoint_s=9.0)  # which decides nothing
    finetune(network(), data(), often, seed=0, checkpoint=checkpoint)


def test_a_checkpoint_of_another_teacher_or_method_is_refused(tmp_path: Path) -> None:
    checkpoint, settings, first = tmp_path / "checkpoint", replace(SETTINGS, epochs=1), network(1).eval()
    finetune(network(), data(), settings, taught=by(first), seed=0, checkpoint=checkpoint)
    for other in (by(network(2).eval()), replace(by(first), methods=(partial(KD, temperature=3.0),))):
        with pytest.raises(ValueError, match="is of a training with other settings"):
            finetune(network(), data(), settings, taught=other, seed=0, checkpoint=checkpoint)


def test_a_teacher_in_training_mode_or_elsewhere_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the teacher \(Sequential\) is in training mode"):
        tuned(network(), network(1))
    with pytest.raises(ValueError, match=r"the teacher \(Sequential\) is on meta and the network on cpu"):
        tuned(network(), network(1).eval().to("meta"))


def test_a_network_without_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="Flatten has no parameters"):
        tuned(nn.Flatten(), None)


def test_a_network_that_makes_buffers_as_it_runs_is_trained_without_a_checkpoint(tmp_path: Path) -> None:
    """As those do in which rounding is simulated: what cannot be put back is not written."""

    class Tracking(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            self.register_buffer("seen", x.detach().amax())
            return x

    module = nn.Sequential(nn.Flatten(), Tracking(), nn.Linear(64, 10))
    settings = replace(SETTINGS, epochs=1, average_decay=0.5)
    finetune(module, data(), settings, seed=0, checkpoint=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_digest_tells_where_a_training_begins() -> None:
    begun = digest(network(), SETTINGS, 0)
    assert begun == digest(network(), SETTINGS, 0)
    others = {
        digest(network(), SETTINGS, 1),
        digest(network(1), SETTINGS, 0),
        digest(network(), replace(SETTINGS, epochs=5), 0),
    }
    assert len({begun, *others}) == 4
    assert digest(network().bfloat16(), SETTINGS, 0) not in {begun, *others}
