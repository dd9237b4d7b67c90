"""Convolutions that become one: what it computes, which may, and that the choice is the best there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from compress.candidate import Candidate
from compress.onnx.export import export_onnx
from compress.saved import restore, save
from compress.steps import Merge
from compress.swaps import swapped
from compress.swaps.merging import merge, series_of, with_merged
from compress.swaps.paths import LayerSpan, cheapest_spans
from tests.compress.targets import FakeTarget, around, context


def by_hand(conv: nn.Conv2d, x: np.ndarray, top: int, side: int) -> np.ndarray:
    """A convolution of one image (C, H, W), a number at a time, with that padding."""
    weight, (down, across) = conv.weight.detach().numpy(), conv.stride
    outputs, inside, height, width = weight.shape
    x = np.pad(x, ((0, 0), (top, top), (side, side)))
    rows, columns = (x.shape[1] - height) // down + 1, (x.shape[2] - width) // across + 1
    made = np.zeros((outputs, rows, columns))
    each = outputs // conv.groups
    for o, r, c in itertools.product(range(outputs), range(rows), range(columns)):
        total = float(conv.bias[o]) if conv.bias is not None else 0.0
        for i, u, v in itertools.product(range(inside), range(height), range(width)):
            total += weight[o, i, u, v] * x[o // each * inside + i, r * down + u, c * across + v]
        made[o, r, c] = total
    return made


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"in": 2, "out": 3, "kernel": 3, "padding": 1}, {"out": 2, "kernel": 3, "padding": 1}),
        ({"in": 2, "out": 4, "kernel": 1, "bias": False}, {"out": 4, "kernel": 3, "groups": 4}),
        (
            {"in": 4, "out": 4, "kernel": (3, 1), "groups": 4},
            {"out": 4, "kernel": (1, 3), "groups": 4},
        ),
        (
            {"in": 4, "out": 6, "kernel": 3, "stride": 2, "groups": 2},
            {"out": 2, "kernel": 2, "bias": False},
        ),
        (
            {"in": 2, "out": 2, "kernel": 2},
            {"out": 2, "kernel": 2, "stride": (2, 1), "padding": (1, 0)},
        ),
    ],
)
def test_one_computes_what_two_do_with_all_padding_first(first, second):
    torch.manual_seed(0)
    channels = first.pop("in")
    one = nn.Conv2d(channels, first.pop("out"), first.pop("kernel"), **first).double()
    two = nn.Conv2d(one.out_channels, second.pop("out"), second.pop("kernel"), **second).double()
    made = merge(one, two)
    x = np.random.default_rng(0).normal(size=(channels, 6, 7))
    between = by_hand(one, x, *made.padding)
    right = by_hand(two, between, 0, 0)
    with torch.no_grad():
        got = made(torch.from_numpy(x)[None])[0].numpy()
    assert got.shape == right.shape
    np.testing.assert_allclose(got, right, atol=1e-12)
    assert made.groups == (4 if one.groups == two.groups == 4 else 1)
    with torch.no_grad():
        assert made(torch.from_numpy(x)[None]).shape == two(one(torch.from_numpy(x)[None])).shape


class _Inverted(nn.Module):
    """An inverted residual block with norms."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = 2 * channels
        self.body = nn.Sequential(
            *(nn.Conv2d(channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6()),
            *(nn.Conv2d(hidden, hidden, 3, 1, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden)),
            *(nn.ReLU6(), nn.Conv2d(hidden, channels, 1, bias=False), nn.BatchNorm2d(channels)),
        )

    def forward(self, x):
        return x + self.body(x)


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1),
            *(_Inverted(6), _Inverted(6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)),
        )
        for module in made.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
                module.weight.data.uniform_(-1, 1)
        return made.eval()


def test_rows_end_where_something_else_reads_or_computes():
    every = series_of(network())
    assert [series.convolutions for series in every] == [
        (f"{k}.body.0", f"{k}.body.3", f"{k}.body.6") for k in (1, 2)
    ]
    assert every[0].between == (("1.body.1", "1.body.2"), ("1.body.4", "1.body.5"))
    assert every[0].norms == ("1.body.1", "1.body.4", "1.body.7")
    assert [series.convolutions[0] for series in series_of(network(), ignore=("1",))] == ["2.body.0"]
    for between in (nn.MaxPool2d(2), nn.LayerNorm(5)):
        assert not series_of(nn.Sequential(nn.Conv2d(1, 2, 1), between, nn.Conv2d(2, 2, 1)))
    for second in (nn.Conv2d(2, 2, 3, dilation=2), nn.Conv2d(2, 2, 3, padding_mode="reflect")):
        assert not series_of(nn.Sequential(nn.Conv2d(1, 2, 1), second))
    tied = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1))
    tied[2].weight = tied[0].weight
    assert not series_of(tied)


def test_a_network_with_one_in_the_place_of_three_is_that_without_activations_away_from_the_border():
    whole = network().double()
    x = torch.randn(2, 1, 9, 9, dtype=torch.float64)
    (series, _) = series_of(whole)
    shorter, exchanges = with_merged(whole, [(series, 0, 3)])
    linear = network().double()
    for name in ("1.body.2", "1.body.5"):
        linear.set_submodule(name, nn.Identity())
    with torch.no_grad():
        got, right = (one[:2](x) for one in (shorter, linear))
    torch.testing.assert_close(got[..., 1:-1, 1:-1], right[..., 1:-1, 1:-1], rtol=0, atol=1e-12)
    assert not torch.allclose(got, right)  # the border: what lies between is not padded any more
    again = swapped(whole, exchanges)
    again.load_state_dict(shorter.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(x), shorter(x))


def test_the_parts_that_are_chosen_are_the_best_of_all():
    draws = np.random.default_rng(0)
    layers = 6
    spans = [
        LayerSpan(
            begin=begin, end=end, loss=float(draws.uniform(0, 1)), saved=float(draws.uniform(0, end - begin))
        )
        for begin in range(layers)
        for end in range(begin + 2, layers + 1)
    ] + [LayerSpan(begin=at, end=at + 1, loss=0.0, saved=0.0) for at in range(layers)]

    def ways(at: int):
        if at == layers:
            yield ()
        for number, span in enumerate(spans):
            if span.begin == at:
                for rest in ways(span.end):
                    yield (number, *rest)

    for needed in (0.5, 2.0, 3.5):
        enough = [way for way in ways(0) if sum(spans[number].saved for number in way) >= needed]
        least = min(sum(spans[number].loss for number in way) for way in enough)
        chosen = cheapest_spans(spans, layers, needed)
        assert sum(spans[number].saved for number in chosen) >= needed * (1 - layers / 2000)
        assert sum(spans[number].loss for number in chosen) <= least + 1e-12
    with pytest.raises(ValueError, match=r"all of them together save .* of 100"):
        cheapest_spans(spans, layers, 100.0)


def test_the_step_merges_what_the_loss_does_not_miss_and_comes_back_from_the_disk(tmp_path):
    """The second block hardly does anything; a merged block saves a third of the time."""
    whole = network()
    whole[2].body[7].weight.data *= 0.01
    images = torch.randn(8, 1, 8, 8)

    def latency(file):
        size = file.stat().st_size
        return around(1.0 - 0.3 * (sizes.index(size) if size in sizes else 0), 0.001)

    example = torch.zeros(1, 1, 8, 8)
    for number, blocks in enumerate([(), (0,), (0, 1)]):
        every = series_of(whole)
        made, _ = with_merged(whole, [(every[block], 0, 3) for block in blocks])
        export_onnx(made, example, tmp_path / f"{number}.onnx")
    sizes = [(tmp_path / f"{number}.onnx").stat().st_size for number in range(3)]
    assert len(set(sizes)) == 3
    asked = context(
        target=FakeTarget(latency=latency), example=example, calibration=images.numpy(), images=images.numpy()
    )
    start = Candidate(network=whole, file=tmp_path / "0.onnx")
    (made,) = Merge(speedup=1.3).propose(start, asked, tmp_path)
    assert made.label == "2.body.0 to 2.body.6 as one each"
    assert [one.kind for one in made.swaps] == ["merged", *["left_out"] * 6]
    kept = save(made, tmp_path / "kept")
    again = restore(whole, example, tmp_path / "kept")
    with torch.no_grad():
        torch.testing.assert_close(again.network.eval()(images), kept.network.eval()(images))
    (both,) = Merge(speedup=2.4).propose(start, asked, tmp_path)
    assert both.label.startswith("1.body.0 to 1.body.6, 2.body.0 to 2.body.6 as one each")
    with pytest.raises(
        ValueError, match=r"9 times as fast takes 0.8889 ms less, and merging saves too little"
    ):
        Merge(speedup=9).propose(start, asked, tmp_path)
    with pytest.raises(ValueError, match="would have a kernel of more than 2"):
        Merge(largest=2, ignore=()).propose(
            Candidate(network=nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 1, 3)), file=start.file),
            asked,
            tmp_path,
        )
    with pytest.raises(ValueError, match="no convolutions can become one"):
        Merge(ignore=("1", "2")).propose(start, asked, tmp_path)
