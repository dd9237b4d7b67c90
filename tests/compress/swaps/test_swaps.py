"""Operators exchanged: first values from their formulas, learned ones nearer, made again, folded, kept."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compress.candidate import Candidate
from compress.onnx.fuse import fuse
from compress.saved import restore, save
from compress.steps import STEPS, Exchange, Finetune, Prune, Retrain
from compress.swaps import SWAPS, ChannelNorm, Swap, by_batch, narrow, separable, swapped
from compress.swaps.kinds import ScaleShift
from compress.swaps.learn import learn
from tests.compress.targets import context


class Net(nn.Module):
    """A wide depthwise kernel, then tokens with norms before linear layers and before a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.wide = nn.Conv2d(1, 6, 3, 2, 1), nn.Conv2d(6, 6, 7, padding=3, groups=6)
        self.first, self.left, self.right = nn.LayerNorm(6), nn.Linear(6, 6), nn.Linear(6, 6, bias=False)
        self.second, self.head = nn.LayerNorm(6), nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.wide(self.conv(x).relu()).flatten(2).transpose(1, 2)
        normed = self.first(tokens)
        tokens = self.second(tokens + self.left(normed) * self.right(normed).sigmoid())
        return self.head(tokens.relu().mean(1))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    made = Net()
    for norm in (made.first, made.second):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return made.eval()


def images(n: int = 48) -> Tensor:
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_a_column_and_a_row_are_the_best_of_their_rank() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 3, 7, (2, 1), 3, groups=3)
    made = separable(conv, rank=2)
    assert isinstance(made, nn.Sequential)
    columns, rows = made[0].weight.detach().numpy(), made[1].weight.detach().numpy()  # type: ignore[union-attr, operator]
    for channel in range(3):
        kernel = sum(np.outer(columns[2 * channel + r, 0, :, 0], rows[channel, r, 0]) for r in range(2))
        left, values, right = np.linalg.svd(conv.weight[channel, 0].detach().numpy())
        np.testing.assert_allclose(kernel, (left[:, :2] * values[:2]) @ right[:2], atol=1e-5)
    exact = nn.Conv2d(3, 3, 5, (2, 1), 2, groups=3)
    with torch.no_grad():
        exact.weight.copy_(torch.randn(3, 1, 5, 1) * torch.randn(3, 1, 1, 5))
    once = separable(exact)
    assert once is not None
    x = torch.randn(2, 3, 9, 8)
    torch.testing.assert_close(once(x), exact(x), rtol=1e-4, atol=1e-5)


def test_a_smaller_kernel_begins_as_the_middle() -> None:
    conv = nn.Conv2d(4, 6, 5, 2, 2, groups=2)
    with torch.no_grad():
        conv.weight[:, :, [0, -1]] = 0
        conv.weight[:, :, :, [0, -1]] = 0
    made, x = narrow(conv, side=3), torch.randn(2, 4, 9, 9)
    assert made is not None
    torch.testing.assert_close(made(x), conv(x))


def test_a_batch_norm_begins_as_the_line_through_a_layer_norm() -> None:
    torch.manual_seed(0)
    norm = nn.LayerNorm(5)
    nn.init.normal_(norm.weight)
    x = (2 + 3 * torch.randn(7, 4, 5)) * torch.rand(7, 4, 1)
    made = by_batch(norm)
    assert isinstance(made, ChannelNorm)
    outputs = norm(x).detach()
    made.fit(x, outputs)
    found = made.eval()(x)
    for channel in range(5):
        xs, ys = (one[..., channel].double().flatten().numpy() for one in (x, outputs))
        slope, offset = np.polyfit(xs, ys, 1)
        wanted = slope * xs + offset
        np.testing.assert_allclose(
            found[..., channel].detach().flatten().numpy(), wanted, rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize(
    ("kind", "module"),
    [
        ("separable", nn.Conv2d(4, 4, 7, padding=3)),  # not depthwise
        ("separable", nn.Conv2d(4, 4, 7, padding=3, groups=4, dilation=2)),
        ("separable", nn.Linear(3, 3)),
        ("narrow", nn.Conv2d(4, 4, 3, padding=1)),
        ("narrow", nn.Conv2d(4, 4, 5)),  # it makes the map smaller
        ("batch_norm", nn.LayerNorm((3, 3))),
        ("batch_norm", nn.BatchNorm2d(3)),
    ],
    ids=str,
)
def test_what_an_exchange_is_not_for_stays(kind: str, module: nn.Module) -> None:
    assert SWAPS.configured(kind, {})(module) is None


def test_learning_brings_operators_nearer_and_leaves_the_network_alone(network: nn.Module) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}

    def error(passes: int) -> float:
        student = separable(network.wide)  # type: ignore[arg-type]
        assert student is not None
        found = learn(network, {"wide": student}, images(), passes=passes, lr=1e-2)
        given = network.conv(images()[36:]).relu()  # type: ignore[operator]
        wanted = network.wide(given)  # type: ignore[operator]
        by_hand = (student(given) - wanted).square().sum() / (wanted - wanted.mean()).square().sum()
        assert found["wide"] == pytest.approx(float(by_hand.detach()), rel=1e-4)
        return found["wide"]

    assert error(60) < 0.9 * error(0)
    assert error(5) == error(5)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not any(part._forward_hooks for part in network.modules())
    network.spare = nn.LayerNorm(6)  # which nothing calls
    assert learn(network, {"spare": ChannelNorm(6)}, images(), passes=1) == {"spare": float("inf")}
    with pytest.raises(ValueError, match="3 images are too few"):
        learn(network, {}, images(3), passes=1)


def test_what_is_learned_is_what_the_operator_gives_and_not_what_is_written_over_it() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 4, 3, padding=1)
    network = nn.Sequential(conv, nn.ReLU(inplace=True), nn.Flatten())
    assert learn(network, {"0": copy.deepcopy(conv)}, images(8), passes=0)["0"] == 0


def proposed(network: nn.Module, folder: Path, **settings: Any) -> list[Candidate]:
    asked = context(example=torch.zeros(1, 1, 8, 8), calibration=images().numpy())
    current = Candidate(network=network, file=folder / "f", precision="int8")
    return Exchange(passes=5, **settings).propose(current, asked, folder)


def test_a_candidate_for_each_kind_is_made_again_from_its_record(network: nn.Module, tmp_path: Path) -> None:
    operators = ({"kind": "separable", "rank": 2}, "narrow", "batch_norm")
    found = proposed(network, tmp_path, operators=operators, largest_error=2.0)
    assert [one.label for one in found] == [
        "1 of 1 operators by separable rank 2",
        "1 of 1 operators by narrow",
        "2 of 2 operators by batch_norm",
    ]
    for at, one in enumerate(found):
        saved = save(one, tmp_path / str(at))
        assert saved.precision == "fp32", "the file is a float one, whatever was there"
        again = restore(network, torch.zeros(1, 1, 8, 8), tmp_path / str(at))
        assert again.swaps == saved.swaps == one.swaps
        torch.testing.assert_close(again.network.eval()(images(4)), one.network.eval()(images(4)))
    assert isinstance(network.first, nn.LayerNorm)


def test_too_large_an_error_keeps_an_operator(network: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the least error of 1 operators is .*, over 1e-06"):
        proposed(network, tmp_path, operators=("narrow",), largest_error=1e-6)
    with pytest.raises(ValueError, match="no operator gives way to narrow side 9"):
        proposed(network, tmp_path, operators=({"kind": "narrow", "side": 9},))


def test_a_batch_norm_folds_into_the_linear_layers_behind_it(network: nn.Module) -> None:
    swaps = tuple(Swap(module=name, kind="batch_norm") for name in ("first", "second"))
    made = swapped(network, swaps)
    made.train()(images())  # statistics
    fused = fuse(made.eval())
    assert isinstance(fused.first, nn.Identity)
    assert isinstance(fused.second, ScaleShift)  # what reads it is no linear layer
    torch.testing.assert_close(fused(images(4)), made(images(4)), rtol=1e-4, atol=1e-5)


def test_what_was_exchanged_stands_in_the_record_of_the_steps_after_it(
    network: nn.Module, tmp_path: Path
) -> None:
    swaps = (Swap(module="first", kind="batch_norm"),)
    asked = context(example=torch.zeros(1, 1, 8, 8), calibration=images().numpy())
    current = Candidate(network=swapped(network, swaps).eval(), file=tmp_path / "f", swaps=swaps)
    for step in (Finetune(), Exchange(operators=("batch_norm",), passes=0, largest_error=9.0)):
        (found,) = step.propose(current, asked, tmp_path)
        assert found.swaps[:1] == swaps
        save(found, tmp_path / "saved")
        restore(network, torch.zeros(1, 1, 8, 8), tmp_path / "saved")


def test_what_does_not_go_together_is_told(network: nn.Module, tmp_path: Path) -> None:
    swaps = (Swap(module="wide", kind="narrow"),)
    current = Candidate(network=network, file=tmp_path / "f", swaps=swaps)
    with pytest.raises(ValueError, match="put prune before exchange"):
        Prune().propose(current, context(), tmp_path)
    with pytest.raises(ValueError, match="put retrain before prune and exchange"):
        Retrain().propose(current, context(retrain=lambda **_: network), tmp_path)
    with pytest.raises(ValueError, match="'narrow' of '0' does not belong .* a Linear there"):
        swapped(nn.Sequential(*[nn.Linear(1, 1)]), (Swap(module="0", kind="narrow"),))
    with pytest.raises(ValueError, match="unknown exchange of operators 'narow'. Did you mean 'narrow'"):
        STEPS.configured("exchange", {"operators": ["narow"]})()
