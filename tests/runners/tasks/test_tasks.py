"""Tasks are parts: one from outside the project is trained, fine-tuned, scored and checked like our own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from compress.onnx.export import export_onnx
from compress.onnx.verify import accuracy, verify
from nas.rules import rule
from nas.supernet.calibration import recalibrate
from nas.supernet.supernet import Supernet
from results.loading import load_module
from runners.scoring.score import score
from runners.scoring.subnets import SubnetEvaluator, worker_evaluator
from runners.tasks import CLASSIFICATION, TASKS, Classification, Task
from runners.training.batches import TrainingData
from runners.training.finetuning import finetune
from runners.training.resolutions import check_outputs
from runners.training.supernet import SupernetTraining
from runners.training.threads import computing_with
from tests.runners.training.test_loop import SETTINGS, digits, prepare, tiny_space

WEIGHTS = (1.0, *(20.0,) * 9)


@pytest.fixture(autouse=True, scope="module")
def balanced() -> Iterator[None]:
    """The task's file, read as a recipe's ``parts`` are; what it registers is taken away at the end."""
    load_module(str(Path(__file__).with_name("balanced_task.py")))
    yield
    del TASKS._entries["balanced"]


def task() -> Task:
    return TASKS.configured("balanced", {"weights": WEIGHTS})()


def answers(folder: Path, task: Task) -> Tensor:
    """What the reference network answers to 400 digits after a supernet was trained for the task."""
    training = SupernetTraining(
        space=tiny_space(),
        rule=rule("sandwich", {"random_subnets": 0}),
        settings=replace(SETTINGS, epochs=10, batch_size=32, average_decay=0.0, checkpoint_s=60.0),
        seed=0,
        prepare=prepare,
        task=task,
    )
    images, labels = digits()
    supernet = training(images, labels, folder / "checkpoint.safetensors")
    network = recalibrate(supernet.extract(supernet.space.largest()), prepare(images, None))
    with torch.no_grad():
        return network(prepare(images, None)).argmax(dim=1)


def test_a_task_from_outside_is_trained_through_the_loop(tmp_path: Path) -> None:
    """Weights of zero for half of the classes: what is learned is the other half."""
    small = TASKS.configured("balanced", {"weights": (*(1.0,) * 5, *(0.0,) * 5)})()
    for folder in ("small", "all"):
        (tmp_path / folder).mkdir()
    _, labels = digits()
    known = labels < 5
    found = answers(tmp_path / "small", small)
    assert (found[known] == labels[known]).float().mean() > 0.7
    assert (found >= 5).float().mean() < 0.05
    assert (answers(tmp_path / "all", CLASSIFICATION) >= 5).float().mean() > 0.3


def test_the_loss_of_the_task_is_what_a_fine_tuning_minimises() -> None:
    """Weights of zero for all classes but one: nothing but that class can be learned."""
    images, labels = digits(320)
    only = TASKS.configured("balanced", {"weights": (1.0, *(0.0,) * 9)})()
    data = TrainingData(images=images, labels=labels, prepare=prepare, task=only)
    network = Supernet(tiny_space()).extract(tiny_space().smallest())
    settings = replace(SETTINGS, epochs=4, label_smoothing=0.0, average_decay=0.0)
    done = finetune(network, data, settings, seed=0)
    with torch.no_grad():
        answers = recalibrate(done, prepare(images, None))(prepare(images, None)).argmax(dim=1)
    assert (answers == 0).float().mean() > 0.5  # a tenth of the digits are zeros


def test_subnets_are_scored_by_the_task_in_workers_too() -> None:
    space, (images, labels) = tiny_space(), digits(200)
    evaluator = SubnetEvaluator(
        supernet=Supernet(space),
        calibration=prepare(images[:64], None),
        images=prepare(images, None),
        labels=labels,
    )
    other = replace(evaluator, task=task())
    network = recalibrate(other.supernet.subnet(space.largest()), other.calibration)
    with torch.no_grad():
        right = (network(other.images).argmax(dim=1) == labels).float()
    expected = sum(float(right[labels == one].mean()) for one in range(10)) / 10
    assert other(space.largest())["accuracy"] == pytest.approx(expected, abs=1e-6)
    assert evaluator(space.largest())["accuracy"] == pytest.approx(float(right.mean()), abs=1e-6)
    with computing_with(0):
        remote = worker_evaluator(space, other.supernet.index, other.arrays(), other.task)
    assert remote(space.largest()) == other(space.largest())
    assert len({evaluator.fingerprint(), other.fingerprint(), remote.fingerprint()}) == 2


def test_files_are_judged_by_the_task(tmp_path: Path) -> None:
    images, labels = digits(200)
    network = Supernet(tiny_space()).extract(tiny_space().largest()).eval()
    inputs = prepare(images, None)
    export_onnx(network, inputs[:1], tmp_path / "model.onnx")
    data: Any = (inputs.numpy(), labels.numpy())

    def balanced(outputs: Any, known: Any) -> float:
        return task().score(torch.from_numpy(outputs), torch.from_numpy(known))

    wanted = score(network, inputs, labels, task())
    assert accuracy(tmp_path / "model.onnx", data, score=balanced) == pytest.approx(wanted, abs=1e-6)
    record = verify(tmp_path / "model.onnx", network, data, score=balanced)
    assert record.accuracy_network == pytest.approx(wanted, abs=1e-6)
    assert record.accuracy_network != verify(tmp_path / "model.onnx", network, data).accuracy_network


def test_outputs_are_checked_by_the_task() -> None:
    check_outputs(tiny_space(), (1, 8, 8), 10, task())
    with pytest.raises(ValueError, match=r"arch .* has to tell 12 classes apart, and task.weights has 10"):
        check_outputs(tiny_space(), (1, 8, 8), 12, task())


def test_bad_settings_of_a_task_are_told() -> None:
    assert TASKS.problems("balanced", {}, "task") == [
        "task.weights: 'balanced' needs this and has no default"
    ]
    (problem,) = TASKS.problems("clasification", {}, "task")
    assert "Did you mean 'classification'" in problem


def test_classification_is_cross_entropy_and_accuracy() -> None:
    outputs, targets = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    known = Classification()
    assert known.loss(outputs, targets, label_smoothing=0.2).item() == pytest.approx(
        F.cross_entropy(outputs, targets, label_smoothing=0.2).item()
    )
    assert known.score(F.one_hot(targets, 4).float(), targets) == 1.0
    with pytest.raises(ValueError, match=r"got shapes \(6, 4\) and \(6, 1\)"):
        known.score(outputs, targets[:, None])


def test_a_column_of_labels_is_refused_by_every_accuracy(tmp_path: Path) -> None:
    images, labels = digits(20)
    network = Supernet(tiny_space()).extract(tiny_space().smallest()).eval()
    inputs: Tensor = prepare(images, None)
    export_onnx(network, inputs[:1], tmp_path / "model.onnx")
    data: Any = (inputs.numpy(), labels[:, None].numpy())
    for call in (
        lambda: score(network, inputs, labels[:, None]),
        lambda: accuracy(network, data),
        lambda: accuracy(tmp_path / "model.onnx", data),
        lambda: verify(tmp_path / "model.onnx", network, data),
    ):
        with pytest.raises(ValueError, match=r"labels \(images,\), got shapes \(20, 10\) and \(20, 1\)"):
            call()
