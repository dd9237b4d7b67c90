"""What is handed over: a network that fails costs itself, the largest that fails costs the comparison; cards
tell the weights that were kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from results.files import read_json
from results.records import Mistakes
from results.records.handed_over import MISTAKES
from results.timing import Timing, not_measured
from runners.console import Console
from runners.data.splits import Split
from runners.stages import export as stage
from runners.tasks import CLASSIFICATION
from tests.compress.targets import FACTS, around


class Device:
    facts = FACTS

    def __init__(self, *, exports: bool = True, failing: str = "") -> None:
        self.exports, self.failing = exports, failing

    def export(self, _network: nn.Module, _shape: object, path: Path, **_: object) -> None:
        if not self.exports:
            raise KeyError("no such operator")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("largest")

    def measure(self, files: list[Path], **_: float) -> list[Timing]:
        return [
            not_measured("failed", "it died") if file.stem == self.failing else around(1.0) for file in files
        ]

    def run(self, _file: Path, images: Any) -> Any:
        return images.reshape(len(images), -1)[:, :2]


HAND_OVER = stage._hand_over


class Pair(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :2]


def exporting(folder: Path, target: Device) -> Any:
    data = SimpleNamespace(
        task=CLASSIFICATION,
        splits=SimpleNamespace(test=SimpleNamespace(labels=torch.zeros(4, dtype=torch.int64))),
        input_shape=(1, 2, 2),
        images=lambda _: torch.ones(4, 1, 2, 2),
        score=lambda *_: 0.5,
    )
    return SimpleNamespace(
        data=data,
        target=target,
        networks=SimpleNamespace(teacher=Pair),
        summary=SimpleNamespace(largest=None),
        run=folder,
        console=Console(folder / "log.txt"),
    )


@pytest.fixture(autouse=True)
def two_networks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """Two compressed networks, and what is said of each that is handed over."""
    handed: list[Any] = []

    def hand_over(work: Any, entry: Any, candidate: Any, timing: Timing, test: Any, reference: Any) -> None:
        if entry.name == "wrong":
            raise ValueError("wrong.onnx is not the network it came from")
        handed.append((entry.name, reference))

    found = [
        (SimpleNamespace(name=name), SimpleNamespace(file=tmp_path / f"{name}.onnx"))
        for name in ("wrong", "good")
    ]
    monkeypatch.setattr(stage, "_compressed", lambda _: found)
    monkeypatch.setattr(stage, "_hand_over", hand_over)
    return handed


def test_a_file_that_is_not_its_network_is_left_out_and_told(tmp_path: Path, two_networks: list[Any]) -> None:
    stage.export_files(exporting(tmp_path, Device()))
    ((name, reference),) = two_networks
    assert name == "good"
    assert (reference.latency_ms, reference.exported_test) == (1.0, 0.5)
    assert read_json(tmp_path / "artifacts" / "networks.json") == ["good"]
    said = (tmp_path / "log.txt").read_text()
    assert "wrong is not handed over: wrong.onnx is not the network it came from" in said


@pytest.mark.parametrize(
    ("device", "words"),
    [
        (
            Device(exports=False),
            "the largest network, which fails: failed: 'no such operator'",
        ),
        (Device(failing="largest"), "nothing is set beside the largest network, which does not run: it died"),
    ],
    ids=["export", "run"],
)
def test_a_largest_network_that_fails_costs_the_comparison(
    device: Device, words: str, tmp_path: Path, two_networks: list[Any]
) -> None:
    stage.export_files(exporting(tmp_path, device))
    assert two_networks == [("good", None)]
    assert words in (tmp_path / "log.txt").read_text()


def test_where_nothing_is_left_the_reasons_are_told(tmp_path: Path) -> None:
    words = (
        "no network can be handed over; wrong: .*not the network it came from; good: its file does not run"
    )
    with pytest.raises(ValueError, match=words):
        stage.export_files(exporting(tmp_path, Device(failing="good")))
    assert not (tmp_path / "artifacts").exists()


@pytest.mark.parametrize(
    ("precisions", "measured_in", "compared"),
    [
        (("fp32", "int8"), "fp32", True),
        (("bf16",), "bf16", True),
        (("int8",), "int8", False),  # its file is fp32: the search's figure is of another form
    ],
)
def test_the_largest_is_held_against_what_was_measured_of_it_in_the_form_of_its_file(
    tmp_path: Path, precisions: tuple[str, ...], measured_in: str, compared: bool
) -> None:
    work = exporting(tmp_path, Device())
    entry = SimpleNamespace(precision=measured_in)
    work.summary.largest = entry
    work.target = SimpleNamespace(facts=replace(FACTS, precisions=precisions))
    assert stage._before(work) is (entry if compared else None)


def test_pictures_of_the_test_data_are_not_in_the_folder_that_is_given_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "_card", lambda *_: None)
    monkeypatch.setattr(stage, "write_artifact", lambda *_: ())
    (tmp_path / "artifacts" / "good").mkdir(parents=True)
    work = exporting(tmp_path, Device())
    images = torch.zeros((4, 1, 2, 2), dtype=torch.uint8)
    work.data.splits = SimpleNamespace(
        test=Split(images=images, labels=torch.tensor([0, 0, 1, 1])), classes=("a", "b")
    )
    given = (np.ones((4, 1, 2, 2), dtype=np.float32), np.array([0, 0, 1, 1]))
    candidate: Any = SimpleNamespace(file=tmp_path / "good.onnx", network=Pair(), precision="fp32")
    entry: Any = SimpleNamespace(name="good")
    HAND_OVER(work, entry, candidate, around(1.0), given, None)
    assert not list((tmp_path / "artifacts" / "good").iterdir())
    found = Mistakes.from_json(read_json(tmp_path / "artifacts" / f"good{MISTAKES}"))
    assert (found.right, len(found.wrong)) == ((2, 0), 2)


def test_the_weights_that_were_kept_last_are_told() -> None:
    def step(name: str, kept: bool, after: float) -> Any:
        return SimpleNamespace(step=name, kept=kept, accuracy_before=0.8, accuracy_after=after)

    twice = [step("finetune", True, 0.84), step("prune", True, 0.83), step("finetune-2", True, 0.93)]
    weights = stage._weights(twice)
    assert weights is not None
    assert (weights.finetuned, weights.kept) == (0.93, "finetuned")
    other_order = stage._weights([step("retrain", True, 0.85), step("finetune", True, 0.9)])
    assert other_order is not None
    assert other_order.kept == "finetuned"


def test_all_three_weights_are_told() -> None:
    def step(name: str, kept: bool, before: float, after: float | None) -> Any:
        return SimpleNamespace(step=name, kept=kept, accuracy_before=before, accuracy_after=after)

    steps = (
        step("finetune", True, 0.9, 0.93),
        step("retrain", False, 0.93, 0.92),
        step("prune", True, 0.93, 0.92),
    )
    weights = stage._weights(steps)
    assert weights is not None
    assert (weights.inherited, weights.finetuned, weights.retrained) == (0.9, 0.93, 0.92)
    assert weights.kept == "finetuned"
    assert "retrained 92.0%; kept: finetuned" in weights.sentence()
