"""The first look: what a network, an exporter or a step raises is told before anything takes long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from runners.console import Console
from runners.data.load import load_data
from runners.data.prepared import RunData
from runners.data.splits import Prepare
from runners.reading.load import load_recipe
from runners.run import work as stages
from runners.stages.first_look import FirstLook, look_first
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from search_spaces.choice import Choice
from search_spaces.space import SearchSpace

STEPS = 'compress.steps=["retrain","finetune",{kind="prune",keep=0.5,counts=4},"quantize"]'


class Net(nn.Module):
    """A small network of one's own: a convolution, something in the middle, a head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.head = nn.Linear(width, 10)

    def features(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


class Recurrent(Net):
    def __init__(self, width: int, kind: type[nn.RNNBase]) -> None:
        super().__init__(width)
        self.rows, self.head = kind(width, 16, batch_first=True), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rows(self.features(x).mean(2).transpose(1, 2))[0][:, -1])


class Normed(Net):
    def __init__(self, width: int, norm: Callable[[nn.Module], nn.Module]) -> None:
        super().__init__(width)
        self.conv, self.head = norm(self.conv), norm(self.head)


class Transposed(Net):
    def __init__(self, width: int, groups: int) -> None:
        super().__init__(width)
        self.up = nn.ConvTranspose2d(width, width, 2, 2, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.up(self.features(x))).mean((2, 3)))


class Tied(Net):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.conv_transpose2d(self.features(x), self.conv.weight, padding=1).flatten(1))


class Fused(Net):
    """A child and an attribute with the names of methods that other tools call."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.fuse, self.folded = nn.Conv2d(width, width, 1), "not a method"

    def features(self, x: Tensor) -> Tensor:
        return torch.relu(self.fuse(super().features(x)))


class Auxiliary(Net):
    """A further output while it is trained."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return (y, 2 * y) if self.training else y  # type: ignore[return-value]


class Floats(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float() / 2)


def frozen(width: int) -> nn.Module:
    network = Net(width)
    network.conv.requires_grad_(False)
    return network


class Odd(Net):
    """Raises, or gives something else, in a place of its own."""

    def __init__(self, width: int, what: Callable[[Net, Tensor], object]) -> None:
        super().__init__(width)
        self.what = what

    def forward(self, x: Tensor) -> Tensor:
        return self.what(self, super().forward(x))  # type: ignore[return-value]


def looking(build: Callable[[int], nn.Module], tmp_path: Path, *settings: str) -> FirstLook:
    recipe = load_recipe("digits", [STEPS, *settings])
    splits = load_data(recipe.data, seed=0)
    prepare = Prepare(preprocessing=splits.preprocessing, crop_padding=1)
    space = SearchSpace(
        "own", [Choice("width", (8, 12))], lambda arch: build(int(arch["width"])), input_shape=(1, 8, 8)
    )
    return FirstLook(
        space=space,
        data=RunData(splits=splits, prepare=prepare, calibration_images=64),
        target=open_target(load_profile("cpu-ort")),
        forms=("fp32", "int8"),
        recipe=recipe,
        shared=True,
        device=torch.device("cpu"),
        console=Console(tmp_path / "log.txt"),
    )


@pytest.mark.parametrize(
    ("build", "note"),
    [
        (
            lambda width: Recurrent(width, nn.GRU),
            "conv: torch-pruning cannot follow its channels, which may run into rows (GRU)",
        ),
        (lambda width: Recurrent(width, nn.LSTM), "conv: torch-pruning cannot follow its channels"),
        (lambda width: Normed(width, parametrizations.weight_norm), ""),
        (lambda width: Transposed(width, width), ""),
        (lambda width: Transposed(width, width // 4), "conv: the network does not run without them"),
        (Tied, "conv: the network does not run without them"),
        (Fused, ""),
        (Floats, ""),
        (Auxiliary, ""),
        (frozen, "conv: the weights of conv are frozen"),
    ],
    ids=[
        "gru",
        "lstm",
        "weight-norm",
        "depthwise",
        "grouped",
        "tied",
        "fuse",
        "float",
        "auxiliary",
        "frozen",
    ],
)
def test_networks_of_one_s_own_go_through_everything(
    build: Callable[[int], nn.Module], note: str, tmp_path: Path
) -> None:
    notes = look_first(looking(build, tmp_path))
    assert len(notes) == bool(note), notes
    assert all(one.startswith("prune comes to nothing") and note in one for one in notes)
    said = (tmp_path / "log.txt").read_text()
    assert "it trains, and its file is the network" in said
    assert all(one in said for one in notes)


def bf16(width: int) -> nn.Module:
    return Net(width).bfloat16()


def conditional(width: int) -> nn.Module:
    return Odd(width, lambda _, y: y if float(y.sum()) > 0 else -y)


def in_training(width: int) -> nn.Module:
    def raises(network: Net, y: Tensor) -> Tensor:
        assert not torch.is_grad_enabled(), "no gradients here"
        return y

    return Odd(width, raises)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (bf16, ["training the network of arch {'width': ", "bfloat16"]),
        (
            in_training,
            ["training the network of arch", "AssertionError: no gradients here", "Mend its module"],
        ),
        (conditional, ["exporting the network of arch", "Odd cannot be exported to ONNX"]),
        (lambda width: Normed(width, parametrizations.spectral_norm), ["module 'conv' has spectral_norm"]),
        (lambda width: Transposed(width, 4), ["groups of", "let the number of groups follow the width"]),
    ],
    ids=["bf16", "raises", "condition", "spectral-norm", "groups"],
)
def test_what_cannot_work_is_told_with_stage_network_reason_and_way_out(
    build: Callable[[int], nn.Module], words: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="a first look, before anything takes long") as told:
        look_first(looking(build, tmp_path))
    for one in words:
        assert one in str(told.value)


def test_a_step_and_a_number_format_that_fail_are_told_and_cost_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = looking(Net, tmp_path)
    export = type(work.target).export

    def no_int8(*args: object, precision: str = "fp32") -> None:
        if precision == "int8":
            raise RuntimeError("no such kernel")
        export(*args, precision=precision)  # type: ignore[arg-type]

    monkeypatch.setattr(type(work.target), "export", no_int8)
    monkeypatch.setattr("compress.steps.quantize.quantize_static", lambda *_, **__: 1 / 0)
    first, second = look_first(work)
    assert first == "networks like it cannot be int8: failed: no such kernel (RuntimeError)"
    assert second.startswith("quantize comes to nothing on it: failed: division by zero")


def test_a_target_out_of_reach_leaves_training_and_counts(tmp_path: Path) -> None:
    work = looking(Net, tmp_path)
    facts = replace(work.target.facts, reachable=False)
    assert look_first(replace(work, target=type("Away", (), {"facts": facts})())) == ()


def test_a_run_looks_before_it_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the check of the first stage calls; the stages themselves are in the end-to-end tests."""
    assert "look_first" in stages.check_whole.__code__.co_names
