"""NASNet's space: its published network, what a cell computes, and that its networks share weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from nas.supernet.supernet import Supernet
from search_spaces.spaces.cells import Cell, nasnet, nasnet_a
from search_spaces.spaces.narrowed import narrowed
from tests.search_spaces.blocks.references import Weights, conv_norm, drawn, relu, squares, under


def test_nasnet_a_has_the_published_size() -> None:
    with torch.device("meta"):
        network = nasnet(classes=1000, input_shape=(3, 224, 224)).build(nasnet_a())
        with FlopCounterMode(display=False) as counter:
            network.eval()(torch.empty(1, 3, 224, 224))
    assert sum(one.numel() for one in network.parameters()) == pytest.approx(5.3e6, rel=0.03)
    assert counter.get_total_flops() / 2 == pytest.approx(564e6, rel=0.03)


def depthwise(x: Tensor, weights: Weights, name: str, dilation: int = 1) -> Tensor:
    """Pixel by pixel and tap by tap."""
    kernel = weights[f"{name}.weight"]
    reach = kernel.shape[-1] // 2 * dilation
    padded = torch.nn.functional.pad(x, (reach,) * 4)
    y = torch.zeros_like(x)
    for row in range(kernel.shape[-1]):
        for column in range(kernel.shape[-1]):
            down, along = row * dilation, column * dilation
            moved = padded[:, :, down : down + x.shape[2], along : along + x.shape[3]]
            y += kernel[None, :, 0, row, column, None, None] * moved
    return y


def around(x: Tensor, maximum: bool) -> Tensor:
    y = torch.empty_like(x)
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            window = x[:, :, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].flatten(2)
            y[:, :, i, j] = window.max(dim=2).values if maximum else window.mean(dim=2)
    return y


def changed(x: Tensor, weights: Weights, name: str) -> Tensor:
    if name == "identity":
        return x
    if name.startswith("sep"):
        x = conv_norm(depthwise(relu(x), weights, "spread"), weights, "mix")
        return conv_norm(depthwise(relu(x), weights, "spread_again"), weights, "mix_again")
    if name == "dil3":
        return conv_norm(depthwise(relu(x), weights, "1", 2), weights, "2")
    return around(x, name == "max3")


def test_a_cell_computes_its_steps_and_halves_the_last_but_one() -> None:
    steps = (
        (0, "sep5", 1, "dil3"),
        (2, "max3", 0, "identity"),
        (1, "avg3", 3, "sep3"),
        (4, "sep7", 2, "identity"),
        (5, "identity", 5, "max3"),
    )
    cell = drawn(Cell({"a": 4}, {"a": 3, "b": 2}, halved=True, channels=6, steps=steps, stride=1))
    random = torch.Generator().manual_seed(0)
    last = [torch.randn(2, 4, 3, 4, generator=random, dtype=torch.float64)]
    before = [torch.randn(2, width, 5, 7, generator=random, dtype=torch.float64) for width in (3, 2)]
    weights = cell.state_dict()
    found = [conv_norm(relu(last[0]), weights, "last.sources.a")]
    parts = zip(before, ("a", "b"), strict=True)
    found.append(
        sum(conv_norm(squares(relu(one), 2), weights, f"before.sources.{name}") for one, name in parts)
    )
    for at, (first, change, second, other) in enumerate(steps):
        own = [
            changed(found[source], under(weights, f"steps.{at}.{place}_{name}_of{source}"), name)
            for place, source, name in (("first", first, change), ("second", second, other))
        ]
        found.append(own[0] + own[1])
    given = cell(last, before)
    assert list(cell.parts) == [f"from{at}" for at in range(1, 7)]
    for one, expected in zip(given, found[1:], strict=True):
        torch.testing.assert_close(one, expected)


def test_a_reducing_cell_halves_the_maps_and_its_networks_share_weights() -> None:
    whole = nasnet(classes=3, input_shape=(1, 9, 6))
    kept: dict[str, tuple[int | str, ...]] = {"repeats": (1,), "filters": (24, 32)}
    for choice in whole.choices:
        if "change" in choice.name:
            kept[choice.name] = (
                ("identity", "sep3") if choice.name.endswith("step0.change_first") else ("max3",)
            )
        elif ".step" in choice.name:
            kept[choice.name] = (0,)
    space = narrowed(whole, kept)
    supernet = Supernet(space)
    for row in space.sample(4, np.random.default_rng(0)):
        arch = space.to_arch(row)
        subnet, alone = supernet.subnet(arch).eval(), supernet.extract(arch).eval()
        x = torch.randn(2, 1, 9, 6, generator=torch.Generator().manual_seed(0))
        assert subnet(x).shape == (2, 3)
        assert torch.equal(subnet(x), alone(x))
