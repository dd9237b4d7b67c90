"""The checker of the prefix rule passes what obeys it, and fails on a planted violation of each kind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nas.supernet.prefix import check_mixer, check_prefix_rule
from search_spaces.choice import Choice
from search_spaces.mixers import MIXERS, Mixer, register_mixer
from search_spaces.space import SearchSpace
from search_spaces.spaces.presets import preset
from tests.spaces import SPACES


@pytest.mark.parametrize("name", SPACES)
def test_our_spaces_and_users_networks_pass(name: str) -> None:
    space = SPACES[name]()
    assert (
        check_prefix_rule(
            space, archs=[space.smallest(), space.to_arch(space.sample(1, np.random.default_rng(0))[0])]
        )
        > 3
    )


@pytest.mark.parametrize("name", ["cifar-small", "mobile"])
def test_presets_pass(name: str) -> None:
    space = preset(name, classes=4, input_shape=(3, 32, 32))
    assert (
        check_prefix_rule(
            space, archs=[space.smallest(), space.to_arch(space.sample(1, np.random.default_rng(0))[0])]
        )
        > 3
    )


class Network(nn.Module):
    """Stem, something in the middle, head: (B, 3, 4, 4) -> (B, 2)."""

    def __init__(self, width: int, middle: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 1)
        self.middle = middle
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(torch.relu(self.stem(x))).mean(dim=(2, 3)))


def space_of(widths: tuple[int, ...], middle: Callable[[int], nn.Module]) -> SearchSpace:
    def build(arch: object) -> nn.Module:
        width = int(arch["width"])  # type: ignore[index]
        return Network(width, middle(width))

    return SearchSpace("planted", [Choice("width", widths)], build, input_shape=(3, 4, 4))


class Split(nn.Module):
    """Pools one half of the channels: which half a channel is in depends on the width."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=1)
        return torch.cat([first, second - second.mean(dim=(2, 3), keepdim=True)], dim=1)


class Attention(nn.Module):
    """Attention over positions, with two things to get wrong."""

    def __init__(self, width: int, heads: int, *, fused: bool) -> None:
        super().__init__()
        self.heads, self.fused = heads, fused
        if fused:
            self.qkv = nn.Linear(width, 3 * width)
        else:
            self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        projected = (
            self.qkv(tokens).chunk(3, dim=2) if self.fused else [f(tokens) for f in (self.q, self.k, self.v)]
        )
        q, k, v = (p.reshape(*p.shape[:2], self.heads, -1).transpose(1, 2) for p in projected)
        mixed = (torch.softmax(q @ k.transpose(2, 3) / 4, dim=-1) @ v).transpose(1, 2)
        return x + mixed.flatten(2).transpose(1, 2).reshape(x.shape)


class Scaled(nn.Module):
    """Scales by the width."""

    def forward(self, x: Tensor) -> Tensor:
        return x / x.shape[1] ** 0.5


class OwnNorm(nn.Module):
    """A norm over the channels that is none of PyTorch's."""

    def forward(self, x: Tensor) -> Tensor:
        return x / x.square().mean(dim=1, keepdim=True).add(1e-6).sqrt()


PLANTED: dict[str, Callable[[int], nn.Module]] = {
    "split by fraction": lambda width: Split(),
    "fused projections": lambda width: Attention(width, width // 8, fused=True),
    "head size follows width": lambda width: Attention(width, 2, fused=False),
    "scale by width": lambda width: Scaled(),
    "norm of its own": lambda width: OwnNorm(),
    "groups follow width": lambda width: nn.GroupNorm(2, width),
    "channels shuffled": lambda width: nn.ChannelShuffle(2),
}


@pytest.mark.parametrize("planted", PLANTED)
@settings(max_examples=5, deadline=None)
@given(narrow=st.integers(1, 3), more=st.integers(1, 3), seed=st.integers(0, 1000))
def test_a_planted_violation_is_found_and_named(planted: str, narrow: int, more: int, seed: int) -> None:
    widths = (8 * narrow, 8 * (narrow + more))
    with pytest.raises(ValueError, match="breaks the prefix rule") as caught:
        check_prefix_rule(space_of(widths, PLANTED[planted]), seed=seed)
    message = str(caught.value)
    assert "'middle'" in message
    assert f"'width' goes from {widths[0]} to {widths[1]}" in message
    assert f"{{'width': {widths[0]}}} and {{'width': {widths[1]}}}" in message


OBEYING: dict[str, Callable[[int], nn.Module]] = {
    "heads follow width": lambda width: Attention(width, width // 8, fused=False),
    "layer norm over channels": lambda width: nn.GroupNorm(1, width),
    "groups of one size": lambda width: nn.GroupNorm(width // 4, width),
    "batch norm": nn.BatchNorm2d,
    "depthwise": lambda width: nn.Conv2d(width, width, 3, padding=1, groups=width),
    "bottleneck": lambda width: nn.Sequential(nn.Conv2d(width, 4, 1), nn.Sigmoid(), nn.Conv2d(4, width, 1)),
}


@pytest.mark.parametrize("kind", OBEYING)
@settings(max_examples=5, deadline=None)
@given(narrow=st.integers(1, 3), more=st.integers(1, 3), seed=st.integers(0, 1000))
def test_what_obeys_passes(kind: str, narrow: int, more: int, seed: int) -> None:
    assert check_prefix_rule(space_of((8 * narrow, 8 * (narrow + more)), OBEYING[kind]), seed=seed) > 0


def test_kernels_of_odd_and_even_size_are_refused_before_anything_runs() -> None:
    with pytest.raises(ValueError, match="all odd or all even"):
        check_prefix_rule(space_of((2, 3), lambda width: nn.Conv2d(4, 4, width)))


def test_a_mixer_that_breaks_the_rule_is_named() -> None:
    register_mixer(Mixer(name="splitting", make=lambda channels, activation: Split()))
    try:
        with pytest.raises(ValueError, match=r"mixer splitting.*stage0.width.*\(Split\)"):
            check_mixer("splitting")
    finally:
        MIXERS._entries.pop("splitting")
