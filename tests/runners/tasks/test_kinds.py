"""Tasks beside plain classification: losses and scores by formulas of their own; labels that are none."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nas.distillation import kl
from runners.tasks import (
    Binary,
    Classification,
    MultiLabel,
    Regression,
    Task,
    open_task,
    task_problems,
)
from runners.tasks.metrics import area_under_roc, average_precision, f1, mean_recall

RNG = torch.Generator().manual_seed(0)
LOGITS = torch.randn(40, 3, generator=RNG)
CLASSES = torch.tensor([0] * 20 + [1] * 15 + [2] * 5)
MARKS = (torch.rand(40, 3, generator=RNG) < 0.3).long()
VALUES = torch.randn(40, 2, generator=RNG) * torch.tensor([100.0, 0.01]) + torch.tensor([5000.0, -1.0])
ABC, AB = ("a", "b", "c"), ("a", "b")


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_weighted_cross_entropy_is_the_mean_of_each_images_weighted_loss() -> None:
    task = Classification(class_weights={"c": 4.0}).fitted(CLASSES, ABC)
    total = 0.0
    for row, label in zip(LOGITS.double().tolist(), CLASSES.tolist(), strict=True):
        share = math.exp(row[label]) / sum(map(math.exp, row))
        total -= (4.0 if label == 2 else 1.0) * math.log(share)
    assert float(task.loss(LOGITS, CLASSES)) == pytest.approx(total / 40, rel=1e-5)


def test_balanced_weights_give_every_class_the_same_share_and_one_on_average() -> None:
    task = Classification(class_weights="balanced").fitted(CLASSES, ABC)
    assert isinstance(task, Classification)
    assert isinstance(task.class_weights, dict)
    shares = [task.class_weights[name] * count for name, count in zip(ABC, (20, 15, 5), strict=True)]
    assert shares == pytest.approx([40 / 3] * 3, rel=1e-5)
    assert repr(Classification().fitted(CLASSES, ABC)) == repr(Classification())  # nothing is told apart


def test_binary_cross_entropy_of_one_output() -> None:
    outputs, labels = LOGITS[:, :1], (CLASSES > 0).long()
    task = Binary(class_weights={"b": 3.0}).fitted(labels, AB)
    losses = [
        -3 * math.log(sigmoid(x)) if label else -math.log(1 - sigmoid(x))
        for x, label in zip(outputs[:, 0].double().tolist(), labels.tolist(), strict=True)
    ]
    assert float(task.loss(outputs, labels)) == pytest.approx(sum(losses) / 40, rel=1e-5)
    mixed = torch.nn.functional.one_hot(labels, 2).float()
    assert float(task.loss(outputs, mixed)) == pytest.approx(float(task.loss(outputs, labels)))
    huge = Binary().loss(torch.tensor([[1e4], [-1e4]]), torch.tensor([0, 1]))
    assert huge.isfinite()


def test_loss_of_several_labels() -> None:
    task = MultiLabel(class_weights="balanced").fitted(MARKS, ABC)
    total = 0.0
    for column in range(3):
        have = int(MARKS[:, column].sum())
        for row in range(40):
            p = sigmoid(float(LOGITS[row, column]))
            total -= (40 - have) / have * math.log(p) if MARKS[row, column] else math.log(1 - p)
    assert float(task.loss(LOGITS, MARKS)) == pytest.approx(total / 120, rel=1e-4)


def test_regression_learns_deviations_from_the_mean_and_is_scored_in_its_units() -> None:
    task = Regression().fitted(VALUES, AB)
    answer = task.answer
    assert answer.offset == pytest.approx(VALUES.double().mean(0).tolist())
    assert answer.scale == pytest.approx(VALUES.double().std(0, correction=0).tolist())
    perfect = (VALUES - torch.tensor(answer.offset)) / torch.tensor(answer.scale)
    assert float(task.loss(perfect, VALUES)) < 1e-6
    assert task.score(perfect, VALUES) == pytest.approx(1.0, abs=1e-5)
    assert float(task.loss(torch.zeros(40, 2), VALUES)) == pytest.approx(1.0, rel=1e-4)
    assert task.score(torch.zeros(40, 2), VALUES) == pytest.approx(0.0, abs=1e-6)
    assert task.score(torch.full((40, 2), 9.0), VALUES) == 0.0  # and not below
    half = perfect.clone()
    half[:, 0] *= 0.5  # a quarter of the variance of one value is left
    assert task.score(half, VALUES) == pytest.approx((0.75 + 1) / 2, abs=1e-4)
    absolute = Regression(error="absolute").fitted(VALUES, AB)
    assert float(absolute.loss(perfect + 0.5, VALUES)) == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("unit", [1.0, 1e-12, 1e-25])
def test_regression_does_not_depend_on_the_unit(unit: float) -> None:
    task = Regression().fitted(VALUES * unit, AB)
    nearly = (VALUES - VALUES.mean(0)) / VALUES.std(0, correction=0) * 0.5
    assert task.score(nearly, VALUES * unit) == pytest.approx(0.75, abs=1e-4)
    assert task.score(torch.full((40, 2), 9.0), VALUES * unit) == 0.0


def test_average_precision_and_the_roc_curve_against_loops() -> None:
    scores = (LOGITS * 2).round() / 2  # with ties
    there = MARKS > 0
    found = average_precision(scores, there)
    for column in range(3):
        pairs = list(zip(scores[:, column].tolist(), there[:, column].tolist(), strict=True))
        positives = sum(label for _, label in pairs)
        total = before = 0.0
        for threshold in sorted({score for score, _ in pairs}, reverse=True):
            taken = [label for score, label in pairs if score >= threshold]
            recall = sum(taken) / positives
            total += (recall - before) * sum(taken) / len(taken)
            before = recall
        assert float(found[column]) == pytest.approx(total)
        wins = [
            (a > b) + 0.5 * (a == b)
            for (a, one), (b, other) in itertools.product(pairs, pairs)
            if one and not other
        ]
        assert area_under_roc(scores[:, column], there[:, column]) == pytest.approx(sum(wins) / len(wins))
    assert average_precision(scores, torch.zeros(40, 3, dtype=torch.bool)).isnan().all()


def test_f1_and_mean_recall_against_loops() -> None:
    predicted = LOGITS.argmax(1)
    recalls, scores = [], []
    for one in range(3):
        hits = sum(p == label == one for p, label in zip(predicted.tolist(), CLASSES.tolist(), strict=True))
        recalls.append(hits / CLASSES.tolist().count(one))
        said = predicted.tolist().count(one)
        precision = hits / said if said else 0.0
        both = precision + recalls[-1]
        scores.append(2 * precision * recalls[-1] / both if both else 0.0)
    assert mean_recall(predicted, CLASSES) == pytest.approx(sum(recalls) / 3)
    assert Classification(score_by="recall").score(LOGITS, CLASSES) == pytest.approx(sum(recalls) / 3)
    assert Classification(score_by="f1").score(LOGITS, CLASSES) == pytest.approx(sum(scores) / 3)
    nothing = torch.zeros(4, 1, dtype=torch.bool)
    assert f1(nothing, ~nothing).tolist() == [0.0]


@pytest.mark.parametrize(
    ("task", "outputs"),
    [
        (Binary(), LOGITS[:, :1]),
        (MultiLabel(), LOGITS),
        (Regression().fitted(VALUES, AB), LOGITS[:, :2]),
    ],
)
def test_what_distillation_compares_is_least_where_both_say_the_same(task: Task, outputs: Tensor) -> None:
    same = kl(task.logits(outputs), task.logits(outputs))
    for change in (0.1, -0.1):
        moved = outputs.clone()
        moved[0, 0] += change
        assert kl(task.logits(moved), task.logits(outputs)) > same


def test_labels_that_no_image_of_a_split_has_do_not_count() -> None:
    marks = MARKS.clone()
    marks[:, 2] = 0
    task = MultiLabel()
    two = average_precision(LOGITS[:, :2], marks[:, :2] > 0).mean()
    assert task.score(LOGITS, marks) == pytest.approx(float(two))
    with pytest.raises(ValueError, match="no image has any label"):
        task.score(LOGITS, torch.zeros_like(marks))


def test_values_that_are_the_same_for_all_images_of_a_split_do_not_count() -> None:
    """Counted, they were 0 or 1 for whatever network."""
    task = Regression().fitted(VALUES, AB)
    one = Regression().fitted(VALUES[:, :1], ("a",))
    flat = torch.stack([VALUES[:, 0], torch.full((40,), 0.1)], 1)
    outputs = (VALUES - VALUES.mean(0)) / VALUES.std(0, correction=0) * 0.5
    assert task.score(outputs, flat) == pytest.approx(one.score(outputs[:, :1], VALUES[:, :1]))
    with pytest.raises(ValueError, match="no value differs"):
        one.score(outputs[:1, :1], VALUES[:1, :1])


CASES: list[tuple[Any, Tensor, tuple[str, ...], str]] = [
    (Classification(), MARKS, ABC, r'zeros and ones \(40, 3\) .* task = "multi_label"'),
    (Classification(), VALUES, AB, r'numbers \(40, 2\) .* task = "regression"'),
    (Classification(), CLASSES, (*ABC, "d"), "no training image is of 'd'"),
    (Classification(class_weights={"dd": 2.0}), CLASSES, ABC, "task.class_weights: unknown class 'dd'"),
    (Classification(class_weights=dict.fromkeys(ABC, 0.0)), CLASSES, ABC, "0 for every class"),
    (Binary(), CLASSES, ABC, 'the data have 3 classes; task = "binary" is for two'),
    (MultiLabel(), CLASSES, ABC, r"shape \(40,\), where zeros and ones \(images, 3\)"),
    (MultiLabel(), MARKS * 2, ABC, "labels are 0 or 1 .* have 2 too"),
    (MultiLabel(), MARKS * torch.tensor([1, 0, 1]), ABC, "no training image has the label 'b'"),
    (MultiLabel(), MARKS | torch.tensor([1, 0, 0]), ABC, "every training image has the label 'a'"),
    (Regression(), CLASSES, ABC, "float numbers"),
    (Regression(), VALUES * torch.tensor([1.0, math.nan]), AB, "#0 is no finite number"),
    (Regression(), VALUES * torch.tensor([1.0, 0.0]), AB, "'b' is .*0 for every training image"),
    (Regression(scale=(1.0,)), VALUES, AB, "task.scale has 1 numbers, and the data have 2 values"),
]


@pytest.mark.parametrize(("task", "labels", "classes", "words"), CASES)
def test_labels_that_are_none_of_the_task_are_refused(
    task: Task, labels: Tensor, classes: tuple[str, ...], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        task.fitted(labels, classes)


@pytest.mark.parametrize(
    ("task", "outputs", "labels"),
    [
        (Binary(), LOGITS, CLASSES),
        (Binary(), LOGITS[:, :1], CLASSES[:, None]),
        (MultiLabel(), LOGITS, MARKS[:, :2]),
        (Regression(offset=(0.0,), scale=(1.0,)), LOGITS[:, :1], LOGITS[:, 0]),
    ],
)
def test_a_score_of_other_shapes_is_refused(task: Task, outputs: Tensor, labels: Tensor) -> None:
    """Broadcast, they would give some number."""
    with pytest.raises(ValueError, match="got shapes"):
        task.score(outputs, labels)


def test_the_answer_says_what_the_outputs_mean() -> None:
    outputs = np.array([0.0, 2.0, -800.0])
    assert MultiLabel().answer.words(outputs, ABC) == "b 88.1%, a 50.0%, c 0.0%"
    assert Classification().answer.words(np.log([0.2, 0.7, 0.1]), ABC, 2) == "b 70.0%, a 20.0%"
    assert Binary().answer.words(np.array([math.log(3)]), AB) == "b 75.0%, a 25.0%"
    values = Regression(offset=(100.0, 0.0), scale=(10.0, 1.0)).answer
    assert values.words(np.array([-1.0, 0.5]), AB) == "a 90, b 0.5"
    pressure = Regression(offset=(101325.0, -2024.0), scale=(50.0, 3.0)).answer
    assert pressure.words(np.array([0.25, -0.1]), AB) == "a 101337.5, b -2024.3"  # and not 1.013e+05
    one, other = np.array([[1.0, 1.0]]), np.array([[1.005, 1.02]])
    assert (values.same(one, one), values.same(one, other)) == (1.0, 0.5)
    assert MultiLabel().answer.same(np.array([[1.0, -1.0]]), np.array([[3.0, 1.0]])) == 0.5


def test_a_finished_task_of_ones_own_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from runners.tasks import Binary\n\ntask = Binary(score_by='f1')\n")
    kind = f"{tmp_path}/mine.py:task"
    assert task_problems(kind, {}) == []
    assert open_task(kind, {}) == Binary(score_by="f1")
    (problem,) = task_problems(kind, {"score_by": "auc"})
    assert "has no setting 'score_by'" in problem
