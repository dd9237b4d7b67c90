"""Mixers bring their own choices and settings: what a space makes of them, and what it refuses."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search_spaces.choice import Choice
from search_spaces.mixers.registry import MIXERS, Mixer, register_mixer
from search_spaces.spaces.metaformer import Stage, metaformer
from search_spaces.spaces.presets import METAFORMERS, preset

KERNEL = Choice("kernel", (3, 5, 7), role="kernel")


class Gate(nn.Module):
    """A mixer with two choices and a setting, and no activation."""

    def __init__(self, channels: int, *, power: int, shape: str, bias: float = 0.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.power, self.shape, self.bias = power, shape, bias

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * (x**self.power) + self.bias


CHOICES = (Choice("power", (1, 2, 3)), Choice("shape", ("round", "flat")))


@pytest.fixture(autouse=True)
def _mixers_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is taken away again."""
    monkeypatch.setattr(MIXERS, "_entries", dict(MIXERS._entries))


def space_with(*mixers: str, **options: dict[str, object]):
    stage = Stage(widths=(16, 32), depths=(1, 2), mixers=mixers, options=options)
    return metaformer("drawn", [stage], classes=3, input_shape=(3, 8, 8))


def test_the_choices_of_a_mixer_reach_it_by_name() -> None:
    register_mixer(Mixer(name="gate", make=Gate, choices=CHOICES))
    space = space_with("identity", "gate", "depthwise", gate={"bias": 2, "power": [2, 3]})
    own = [one for one in space.choices if one.parent == "stage0.block0.mixer"]
    assert [(one.name, one.values, one.role, one.parent_values) for one in own] == [
        ("stage0.block0.power", (2, 3), "size", ("gate",)),
        ("stage0.block0.shape", ("round", "flat"), "category", ("gate",)),
        ("stage0.block0.kernel", (3, 5, 7), "kernel", ("depthwise",)),
    ]
    arch = {**space.smallest(), "stage0.block0.mixer": "gate"}
    arch |= {"stage0.block0.power": 3, "stage0.block0.shape": "flat"}
    (gate,) = [part for part in space.build(arch).modules() if isinstance(part, Gate)]
    assert (gate.power, gate.shape, gate.bias) == (3, "flat", 2.0)


def test_mixers_that_declare_the_same_choice_share_it() -> None:
    """As pooling and depthwise share the kernel: one choice, whose values may be given to either."""
    space = space_with("pooling", "depthwise", pooling={"kernel": 5})
    kernels = [one for one in space.choices if one.name.endswith("kernel")]
    assert [(one.values, one.parent_values) for one in kernels] == [((5,), ("pooling", "depthwise"))] * 2


def test_mixers_that_mean_different_things_by_a_name_are_refused() -> None:
    wide = Choice("kernel", (13, 31), role="kernel")
    register_mixer(Mixer(name="large", make=lambda channels, kernel: nn.Identity(), choices=(wide,)))
    with pytest.raises(ValueError, match="'large' and 'depthwise' share the choice 'kernel' and disagree"):
        space_with("large", "depthwise")
    assert space_with("large", "depthwise", large={"kernel": [3, 5]})
    with pytest.raises(ValueError, match="'depthwise' and 'pooling' share the choice 'kernel' and disagree"):
        space_with("depthwise", "pooling", depthwise={"kernel": 3}, pooling={"kernel": 5})


def test_a_mixer_is_given_the_activation_only_where_it_takes_one() -> None:
    register_mixer(Mixer(name="any", make=lambda channels, **values: nn.Identity()))
    for name in ("any", "attention", "depthwise"):
        assert space_with(name).build(space_with(name).largest())


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice("strength", (1, 2)), "its make has no parameter of that name"),
        (Choice("ratio", (1, 2)), "none of channels, activation, mixer, ratio"),
        (Choice("a.b", (1, 2)), "called by one word"),
    ],
)
def test_a_choice_that_cannot_be_handed_over_is_refused_at_once(choice: Choice, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mixer(name="wrong", make=Gate, choices=(choice,))


def test_two_mixers_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="there are two parts named 'attention': a mixer of that name"):
        register_mixer(Mixer(name="attention", make=Gate, choices=CHOICES))


def test_a_mixer_that_only_this_process_knows_is_built_in_another() -> None:
    """Ray workers import no recipe's parts: the space brings its mixers along."""
    cloudpickle = pytest.importorskip("cloudpickle")
    register_mixer(Mixer(name="gate", make=Gate, choices=CHOICES))
    sent = cloudpickle.dumps(space_with("gate"))
    del MIXERS._entries["gate"]
    space = pickle.loads(sent)
    row = space.sample(1, np.random.default_rng(0))[0]
    assert any(isinstance(part, Gate) for part in space.build(space.to_arch(row)).modules())


def test_options_of_a_preset_hold_for_the_stages_that_have_the_mixer() -> None:
    assert "attention" not in METAFORMERS["mobile"][0].mixers
    options = {"depthwise": {"kernel": [3]}}
    space = preset("mobile", classes=3, input_shape=(3, 64, 64), options=options, without=["pooling"])
    assert {one.values for one in space.choices if one.role == "kernel"} == {(3,)}
    assert preset("mobile", classes=3, input_shape=(3, 64, 64), options=options, without=["depthwise"])


def test_values_of_a_shared_choice_outlive_the_mixer_they_were_given_to() -> None:
    """A device that cannot run depthwise does not widen pooling's kernels again."""
    options = {"depthwise": {"kernel": (3, 5)}}
    space = preset("digits", classes=3, input_shape=(1, 8, 8), options=options, without=["depthwise"])
    kernels = [one for one in space.choices if one.role == "kernel"]
    assert {(one.values, one.parent_values) for one in kernels} == {((3, 5), ("pooling",))}
