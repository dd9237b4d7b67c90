"""A recipe can say of a step what Python can, and is told what is wrong before work starts."""

from __future__ import annotations

import pytest

from compress.pruning.importance import CRITERIA
from compress.steps import STEPS, Finetune, Prune, Quantize, QuantizeAware, Retrain


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
        ("quantize", {"ranges": "minimax"}, "Input should be 'minmax', 'percentile' or 'entropy'"),
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
