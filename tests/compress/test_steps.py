"""A recipe can say of a step what Python can, and is told what is wrong before work starts."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper
from torch import nn

from compress.candidate import Candidate
from compress.onnx.aware import AwareTraining
from compress.onnx.export import export_onnx
from compress.pruning.allocation import ALLOCATIONS
from compress.pruning.channels import cut_channels
from compress.pruning.importance import CRITERIA
from compress.steps import STEPS, Finetune, Prune, Quantize, QuantizeAware, Retrain
from tests.compress.networks import EXAMPLE, digits_network, images
from tests.compress.targets import FakeTarget, around, context, trained_as_it_is


@pytest.mark.parametrize(
    ("kind", "settings", "step"),
    [
        ("finetune", {"epochs": 3}, Finetune(epochs=3)),
        ("retrain", {}, Retrain()),
        ("prune", {"keep": 0.5}, Prune(keep=0.5)),
        (
            "prune",
            {"keep": [0.75, 0.5], "counts": [8, 24], "importance": "taylor", "ignore": ["stem"]},
            Prune(keep=(0.75, 0.5), counts=(8, 24), importance="taylor", ignore=("stem",)),
        ),
        (
            "prune",
            {"importance": {"kind": "magnitude", "p": 1}},
            Prune(importance={"kind": "magnitude", "p": 1}),
        ),
        ("prune", {"allocation": "global"}, Prune(allocation="global")),
        (
            "prune",
            {"speedup": [1.5, 2], "counts": "stairs", "allocation": {"kind": "measured", "step": 0.1}},
            Prune(speedup=(1.5, 2.0), counts="stairs", allocation={"kind": "measured", "step": 0.1}),
        ),
        (
            "quantize",
            {"operators": ["convolutions"], "ranges": "entropy", "per_channel": False},
            Quantize(operators=("convolutions",), ranges="entropy", per_channel=False),
        ),
        ("quantize_aware", {"epochs": 2}, QuantizeAware(epochs=2)),
    ],
)
def test_settings_make_the_step_that_python_would(kind, settings, step):
    assert STEPS.configured(kind, settings)() == step


@pytest.mark.parametrize(
    ("kind", "settings", "problem"),
    [
        ("pruning", {}, "unknown compression step 'pruning'. Did you mean 'prune'?"),
        ("prune", {"kep": 0.5}, "'prune' has no setting 'kep'. Did you mean 'keep'?"),
        ("prune", {"keep": 1.5}, "keep = 1.5: Input should be less than 1"),
        ("prune", {"keep": [0.5, 1.5]}, "Input should be less than 1"),
        ("prune", {"counts": [0]}, "Input should be greater than or equal to 1"),
        ("prune", {"importance": "tailor"}, "unknown importance 'tailor'. Did you mean 'taylor'?"),
        ("prune", {"importance": {"kind": "l2", "p": 1}}, "'l2' has no setting 'p'. It has none."),
        ("prune", {"allocation": "even"}, "unknown allocation 'even'"),
        ("prune", {"speedup": 1}, "Input should be greater than 1"),
        ("prune", {"importance": {"p": 1}}, "a criterion is its name, or a table with its name as kind"),
        ("quantize", {"ranges": "minimax"}, "Input should be 'minmax', 'percentile', 'mse' or 'entropy'"),
        ("finetune", {"epochs": 0}, "Input should be greater than or equal to 1"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(kind, settings, problem):
    (found,) = STEPS.problems(kind, settings, "compress.steps[1]")
    assert found.startswith("compress.steps[1]")
    assert problem in found


@pytest.mark.parametrize("parts", [STEPS, CRITERIA, ALLOCATIONS], ids=["steps", "criteria", "allocations"])
def test_every_part_and_every_setting_is_described(parts):
    for name in parts:
        assert parts[name].summary, name
        for setting in parts[name].settings.values():
            assert setting.text, f"{name}.{setting.name}"
            assert setting.text.split()[0] not in ("Of", "In", "On", "To", "That", "As", "With", "By", "For")


def _quantizing(monkeypatch, failing: dict[str, Exception]) -> None:
    """Has quantization fail with an error for the files whose names hold a word."""

    def quantize(path: Path, calibration: object, target: Path, *_: object, **__: object) -> None:
        for word, error in failing.items():
            if word in target.name:
                raise error
        node = helper.make_node("QuantizeLinear", ["x", "scale"], ["y"])
        target.write_bytes(helper.make_model(helper.make_graph([node], "int8", [], [])).SerializeToString())

    for step in ("quantize", "quantize_aware"):
        monkeypatch.setattr(f"compress.steps.{step}.quantize_static", quantize)


def _quantize_aware(monkeypatch) -> None:
    trained = AwareTraining(network=nn.Identity(), input_ranges={})
    monkeypatch.setattr("compress.steps.quantize_aware.train_aware", lambda network, train, **_: trained)
    for name in ("tensor_ranges", "integers_in_file"):
        monkeypatch.setattr(f"compress.steps.quantize_aware.{name}", lambda *_: {})
    monkeypatch.setattr("compress.candidate.Context.export", lambda *_: None)


@pytest.mark.parametrize("step", [Quantize(), QuantizeAware()])
def test_a_set_of_operators_that_fails_leaves_the_others(monkeypatch, tmp_path, step):
    _quantize_aware(monkeypatch)
    start = Candidate(network=nn.Identity(), file=tmp_path / "float.onnx")
    _quantizing(monkeypatch, {"products": ValueError("no Add"), "every": KeyError("Softmax")})
    asked = context(target=FakeTarget(outputs=lambda file, images: images))
    (candidate,) = step.propose(start, asked, tmp_path)
    assert candidate.label == "int8 for convolutions"
    _quantizing(
        monkeypatch, {"products": ValueError("no Add"), "every": ValueError("b"), "conv": ValueError("c")}
    )
    with pytest.raises(ValueError, match="every operator: b; products and sums: no Add; convolutions: c"):
        step.propose(start, asked, tmp_path)
    _quantizing(monkeypatch, {"": ValueError("one reason")})
    with pytest.raises(ValueError, match="^one reason$"):
        step.propose(start, asked, tmp_path)
    _quantizing(monkeypatch, {"products": OSError(errno.ENOSPC, "No space left on device")})
    with pytest.raises(OSError, match="No space left"):
        step.propose(start, asked, tmp_path)


@pytest.mark.parametrize(
    ("share", "part", "problem"),
    [
        (
            0,
            slice(None),
            "^all outputs of the int8 file are 0 on 6 images, where those of the float file differ",
        ),
        (1, slice(1), "^the int8 file gives the same outputs for each of 6 images, where"),
    ],
)
def test_a_file_with_constant_outputs_is_refused_without_a_look_at_accuracy(tmp_path, share, part, problem):
    network, file = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval(), tmp_path / "float.onnx"
    export_onnx(network, EXAMPLE, file)

    def run(path: Path, given: np.ndarray) -> np.ndarray:
        return given if path == file else np.broadcast_to(share * given[part], given.shape)

    def hardly(path: Path, given: np.ndarray) -> np.ndarray:
        return 1 + run(path, given) / 100

    start, step = Candidate(network=network, file=file), Quantize(operators=("convolutions",))
    asked = context(example=EXAMPLE, calibration=images(6), target=FakeTarget(outputs=run))
    with pytest.raises(ValueError, match=problem):
        step.propose(start, asked, tmp_path)
    indistinct = replace(asked, target=FakeTarget(outputs=hardly))
    assert step.propose(start, indistinct, tmp_path), "what 8 bits do not tell apart is timed all the same"


def test_a_share_whose_training_fails_leaves_the_others(tmp_path):
    trainings = []

    def finetune(network: nn.Module, *, seed: int, epochs: int | None = None) -> nn.Module:
        trainings.append(seed)
        if len(trainings) > 1:
            raise RuntimeError("the loss is not finite")
        return trained_as_it_is(network, seed=seed)

    start = Candidate(network=digits_network(), file=tmp_path / "float.onnx")
    asked = context(example=EXAMPLE, images=images(2), finetune=finetune)
    step = Prune(keep=(0.5, 0.25), counts=4)
    (candidate,) = step.propose(start, asked, tmp_path)
    assert candidate.label == "50% of the channels"
    with pytest.raises(ValueError, match=r"^failed: the loss is not finite \(RuntimeError\)$"):
        step.propose(start, asked, tmp_path)


def _timed_by_size(files, *, budget_s: float, half_width: float = 0.01):
    """A file takes as long as it is large."""
    return [around(file.stat().st_size / 1000, width_ms=0.001) for file in files]


def test_a_speedup_is_cut_in_rounds_with_a_training_after_each(tmp_path, monkeypatch):
    trained: list[int] = []

    def finetune(network: nn.Module, *, seed: int, epochs: int | None = None) -> nn.Module:
        trained.append(sum(parameter.numel() for parameter in network.parameters()))
        assert epochs == 2
        return network

    monkeypatch.setattr(FakeTarget, "measure", lambda self, files, **named: _timed_by_size(files, **named))
    asked = context(example=torch.zeros(1, 1, 8, 8), finetune=finetune)
    network = nn.Sequential(
        *(nn.Conv2d(1, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 4))
    )
    start = Candidate(network=network.eval(), file=tmp_path / "float.onnx")
    asked.export(network, start.file)
    step = Prune(speedup=2.0, rounds=2, epochs=2, counts=4, allocation="global")
    (candidate,) = step.propose(start, asked, tmp_path)
    assert candidate.label == "2 times as fast"
    assert len(trained) == 2
    assert trained[1] < trained[0]
    before, after = _timed_by_size([start.file, candidate.file], budget_s=1)
    assert 2.0 <= before.median_ms / after.median_ms < 2.4
    made = cut_channels(network, asked.example, candidate.cuts)  # both rounds' cuts, one after another
    assert sum(parameter.numel() for parameter in made.parameters()) == trained[1]
    with pytest.raises(ValueError, match="pruning does not make it 9999 times as fast"):
        Prune(speedup=9999.0, counts=4).propose(start, asked, tmp_path)


def test_rounds_that_begin_like_a_candidate_before_them_have_the_cuts_of_their_network(tmp_path):
    """16 of 32 channels are the one smaller count: both shares make that cut, and no second one."""
    network = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)).eval()
    start = Candidate(network=network, file=tmp_path / "float.onnx")
    (candidate,) = Prune(keep=(0.4, 0.3), counts=(16,), rounds=2).propose(start, context(), tmp_path)
    assert candidate.label == "40% of the channels"
    made = cut_channels(network, torch.zeros(1, 1, 4, 4), candidate.cuts)
    assert made[0].weight.shape == candidate.network[0].weight.shape == (16, 1, 3, 3)
