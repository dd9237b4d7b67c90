"""A recipe can say of a step what Python can, and is told what is wrong before work starts."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from torch import nn

from compress.candidate import Candidate
from compress.onnx.aware import AwareTraining
from compress.pruning.importance import CRITERIA
from compress.steps import STEPS, Finetune, Prune, Quantize, QuantizeAware, Retrain
from tests.compress.networks import EXAMPLE, digits_network, images
from tests.compress.targets import context, trained_as_it_is


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
        ("prune", {"across_layers": True}, Prune(across_layers=True)),
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
        ("prune", {"importance": {"p": 1}}, "a criterion is its name, or a table with its name as kind"),
        ("quantize", {"ranges": "minimax"}, "Input should be 'minmax', 'percentile', 'mse' or 'entropy'"),
        ("finetune", {"epochs": 0}, "Input should be greater than or equal to 1"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(kind, settings, problem):
    (found,) = STEPS.problems(kind, settings, "compress.steps[1]")
    assert found.startswith("compress.steps[1]")
    assert problem in found


@pytest.mark.parametrize("parts", [STEPS, CRITERIA], ids=["steps", "criteria"])
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
        target.write_bytes(b"int8")

    for step in ("quantize", "quantize_aware"):
        monkeypatch.setattr(f"compress.steps.{step}.quantize_static", quantize)


def _quantize_aware(monkeypatch) -> None:
    trained = AwareTraining(network=nn.Identity(), input_ranges={})
    monkeypatch.setattr("compress.steps.quantize_aware.train_aware", lambda network, train: trained)
    monkeypatch.setattr("compress.steps.quantize_aware.tensor_ranges", lambda *_: {})
    monkeypatch.setattr("compress.candidate.Context.export", lambda *_: None)


@pytest.mark.parametrize("step", [Quantize(), QuantizeAware()])
def test_a_set_of_operators_that_fails_leaves_the_others(monkeypatch, tmp_path, step):
    _quantize_aware(monkeypatch)
    start = Candidate(network=nn.Identity(), file=tmp_path / "float.onnx")
    _quantizing(monkeypatch, {"products": ValueError("no Add"), "every": KeyError("Softmax")})
    (candidate,) = step.propose(start, context(), tmp_path)
    assert candidate.label == "int8 for convolutions"
    _quantizing(
        monkeypatch, {"products": ValueError("no Add"), "every": ValueError("b"), "conv": ValueError("c")}
    )
    with pytest.raises(ValueError, match="every operator: b; products and sums: no Add; convolutions: c"):
        step.propose(start, context(), tmp_path)
    _quantizing(monkeypatch, {"": ValueError("one reason")})
    with pytest.raises(ValueError, match="^one reason$"):
        step.propose(start, context(), tmp_path)
    _quantizing(monkeypatch, {"products": OSError(errno.ENOSPC, "No space left on device")})
    with pytest.raises(OSError, match="No space left"):
        step.propose(start, context(), tmp_path)


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
