"""A space out of a finished network: what it finds, and that its networks are leading parts of the whole."""

from __future__ import annotations

import copy
import re
from functools import cache

import cloudpickle
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.supernet.prefix import check_prefix_rule
from nas.supernet.supernet import Supernet
from runners.adopting.proposal import Proposal, propose, space_of_network
from search_spaces.space import Arch, SearchSpace
from tests.runners.adopting.networks import NETWORKS, Concatenated, ViT, logits, made

FOUND: dict[str, dict[str, tuple[float, ...]]] = {
    # An attention of which ``forward`` says that it is as wide inside as outside keeps the size of its heads.
    "ViT": {
        "patch.width": (16, 24),
        "blocks.depth": (1, 2),
        "blocks.0.mlp.0.expansion": (1, 1.5, 2),
        "blocks.1.mlp.0.expansion": (1, 1.5, 2),
    },
    "ViT, heads free": {
        "patch.width": (12, 20, 24),
        "blocks.depth": (1, 2),
        "blocks.0.attn.qkv.heads": (2, 3),
        "blocks.0.mlp.0.expansion": (1, 1.5, 2),
        "blocks.1.attn.qkv.heads": (2, 3),
        "blocks.1.mlp.0.expansion": (1, 1.5, 2),
    },
    "of a hub": {
        "patches.width": (8, 12, 16),
        "layer.depth": (1, 2, 3),
        **{f"layer.{at}.attention.heads": (2, 3, 4) for at in range(3)},
        **{f"layer.{at}.up.expansion": (2, 3, 4) for at in range(3)},
    },
    "TransformerEncoder": {
        "embed.width": (8, 12, 16),
        "encoder.layers.depth": (1, 2),
        **{f"encoder.layers.{at}.self_attn.heads": (2, 3, 4) for at in range(2)},
        **{f"encoder.layers.{at}.linear1.expansion": (1, 1.5, 2) for at in range(2)},
    },
    "MobileNet": {
        "0.width": (4, 6, 8),
        "1.body.expansion": (2, 3, 4),
        "1.body.3.kernel": (3, 5),
        "1.body.6.width": (6, 9, 12),
        "2.depth": (1, 2),
        **{f"{at}.body.expansion": (2, 3, 4) for at in (2, 3)},
        **{f"{at}.body.3.kernel": (3, 5, 7) for at in (2, 3)},
        **{f"{at}.body.5.down.width": (6, 9, 12) for at in (2, 3)},
    },
    # Norms and convolutions keep the size of their groups and have fewer of them.
    "groups": {"0.width": (4, 6, 8), "1.depth": (1, 2), "3.one.width": (8, 12, 16)},
    "concatenation": {"a.width": (4, 6, 8), "b.width": (3, 5, 6), "c.width": (4, 6, 8)},
}
FOUND["TransformerEncoder, batch second"] = FOUND["TransformerEncoder"]


@cache
def proposed(name: str) -> Proposal:
    return propose(*made(name))


def space_of(name: str) -> SearchSpace:
    return proposed(name).space()


def archs_of(space: SearchSpace, n: int = 12) -> list[Arch]:
    rows = space.sample(n, np.random.default_rng(0))
    return [space.smallest(), space.largest(), *map(space.to_arch, rows)]


@pytest.mark.parametrize("name", NETWORKS)
def test_what_a_network_can_have_less_of_is_found(name: str) -> None:
    assert {one.name: one.values for one in proposed(name).findings} == FOUND[name]
    assert [one.reason for one in proposed(name).refused] == ["they are the network's outputs"]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_largest_is_the_network_it_came_from(name: str) -> None:
    network, example = made(name)
    network, example = network.double(), example.double()
    space = space_of_network(network, example)
    whole = space.build(space.largest()).eval()
    expected = logits(network, example)
    assert (logits(whole, example) - expected).abs().max() <= 1e-13 * expected.abs().max()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_supernet_begins_with_the_networks_weights_and_its_subnets_are_the_networks_alone(
    name: str,
) -> None:
    network, example = made(name)
    space = space_of(name)
    supernet = Supernet(space, seed=3)
    first = logits(supernet.subnet(space.largest()).eval(), example)
    torch.testing.assert_close(first, logits(network, example), rtol=1e-4, atol=1e-5)
    for arch in archs_of(space):
        alone = logits(space.build(arch).eval(), example)
        assert torch.equal(alone, logits(supernet.subnet(arch).eval(), example)), arch
        assert torch.equal(alone, logits(supernet.extract(arch).eval(), example)), arch


@pytest.mark.parametrize("name", NETWORKS)
def test_widths_can_be_shared(name: str) -> None:
    assert check_prefix_rule(space_of(name), networks=1) > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_and_the_one_they_came_from_are_independent(name: str) -> None:
    network, example = made(name)
    space = space_of(name)
    before = logits(network, example)
    for parameter in space.build(space.largest()).parameters():
        parameter.data.fill_(7.0)
    assert torch.equal(logits(network, example), before)
    whole = logits(space.build(space.largest()).eval(), example)
    torch.testing.assert_close(whole, before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["ViT, heads free", "MobileNet", "concatenation"])
def test_gradients_reach_every_weight_and_nothing_outside_of_it(name: str) -> None:
    space = space_of(name)
    supernet = Supernet(space)
    _, example = made(name)
    supernet.zero_grad()
    subnet = supernet.subnet(space.smallest())
    subnet(example).square().sum().backward()
    used = {key: parameter.grad for key, parameter in subnet.named_parameters()}
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in used.values())
    total = sum(float(gradient.abs().sum()) for gradient in supernet.grad.values())
    assert total == pytest.approx(sum(float(one.abs().sum()) for one in used.values() if one is not None))


def test_a_space_goes_to_another_process() -> None:
    space = space_of("ViT, heads free")
    _, example = made("ViT, heads free")
    arch = space.smallest()
    sent = cloudpickle.loads(cloudpickle.dumps(space))
    assert torch.equal(logits(sent.build(arch).eval(), example), logits(space.build(arch).eval(), example))


# -- what the smaller networks compute, by formulas of their own ------------------------------------


def test_packed_attention_keeps_the_leading_heads_of_each_of_its_parts() -> None:
    network, example = made("ViT, heads free")
    network, example = network.double(), example.double()
    assert isinstance(network, ViT)
    space = propose(network, example, by_weights=False).space(
        {"blocks.0.attn.qkv.heads": (2, 3), "patch.width": (17, 24)}
    )
    small = space.build({"blocks.0.attn.qkv.heads": 2, "patch.width": 17}).get_submodule("blocks.0.attn")
    attention = network.blocks[0].attn
    x = torch.randn(2, 4, 17, dtype=torch.float64)
    weight, bias = attention.qkv.weight, attention.qkv.bias
    expected = attention.proj.bias[:17].expand(2, 4, 17).clone()
    for head in range(2):
        q, k, v = (
            x @ weight[part * 24 + head * 8 : part * 24 + head * 8 + 8, :17].T
            + bias[part * 24 + head * 8 : part * 24 + head * 8 + 8]
            for part in range(3)
        )
        for image in range(2):
            scores = q[image] @ k[image].T / 8**0.5
            shares = scores.exp() / scores.exp().sum(1, keepdim=True)
            expected[image] += shares @ v[image] @ attention.proj.weight[:17, head * 8 : head * 8 + 8].T
    assert torch.allclose(small(x), expected, atol=1e-12)


def test_a_mobile_block_keeps_leading_channels_and_the_centre_of_its_kernel() -> None:
    network, example = made("MobileNet")
    network, example = network.double(), example.double()
    space = propose(network, example, by_weights=False).space(
        {"0.width": (6, 8), "1.body.expansion": (3, 4), "1.body.3.kernel": (3, 5), "1.body.6.width": (7, 12)}
    )
    arch = {"0.width": 6, "1.body.expansion": 3, "1.body.3.kernel": 3, "1.body.6.width": 7}
    small = space.build(arch).eval().get_submodule("1")
    expand, norm1, _, depthwise, norm2, _, project, norm3 = network.get_submodule("1.body")
    x = torch.randn(2, 6, 7, 5, dtype=torch.float64)

    def normed(values: Tensor, norm: nn.Module, at: int) -> Tensor:
        scale = norm.weight[at] / (norm.running_var[at] + norm.eps).sqrt()
        return (values - norm.running_mean[at]) * scale + norm.bias[at]

    inside = []
    for channel in range(18):  # 3 times 6
        y = sum(expand.weight[channel, i, 0, 0] * x[:, i] for i in range(6))
        y = normed(y, norm1, channel)
        y = y * (y + 3).clamp(0, 6) / 6
        padded = nn.functional.pad(y, (1, 1, 1, 1))
        out = torch.zeros(2, 4, 3, dtype=torch.float64)
        for row in range(4):
            for column in range(3):
                window = padded[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
                out[:, row, column] = (window * depthwise.weight[channel, 0, 1:4, 1:4]).sum((1, 2))
        inside.append(normed(out, norm2, channel))
    expected = torch.stack(
        [normed(sum(project.weight[o, c, 0, 0] * inside[c] for c in range(18)), norm3, o) for o in range(7)],
        dim=1,
    )
    assert torch.allclose(small(x), expected, atol=1e-12)


def test_norms_and_convolutions_in_groups_keep_whole_groups() -> None:
    network, example = made("groups")
    space = propose(network, example, by_weights=False).space({"0.width": (4, 8)})
    block = space.build({"0.width": 4}).get_submodule("1")
    assert (block.norm1.num_groups, block.norm1.num_channels) == (2, 4)
    assert (block.two.groups, block.two.in_channels, block.two.out_channels) == (2, 4, 4)
    assert torch.equal(block.two.weight, network.get_submodule("1").two.weight[:4])


def test_a_concatenation_keeps_the_leading_channels_of_each_side() -> None:
    network, example = made("concatenation")
    assert isinstance(network, Concatenated)
    space = propose(network, example, by_weights=False).space({"a.width": (5, 8), "b.width": (4, 6)})
    small = space.build({"a.width": 5, "b.width": 4})
    kept = [*range(5), *range(8, 12)]
    assert torch.equal(small.c.weight, network.c.weight[:, kept])
    assert torch.equal(small.norm.weight, network.norm.weight[kept])
    assert torch.equal(small.norm.running_mean, network.norm.running_mean[kept])


def test_blocks_go_from_the_end_and_take_their_choices_along() -> None:
    space = space_of("ViT, heads free")
    assert len(space.build({**space.largest(), "blocks.depth": 1}).blocks) == 1
    row = space.to_row({**space.largest(), "blocks.depth": 1})
    active = dict(zip(space.names, space.active(row[None])[0], strict=True))
    assert not active["blocks.1.attn.qkv.heads"]
    assert not active["blocks.1.mlp.0.expansion"]
    assert active["blocks.0.attn.qkv.heads"]


# -- what cannot be chosen --------------------------------------------------------------------------


class HardCoded(nn.Module):
    """Says in its ``forward`` how wide it is."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.a(x))
        return self.head(self.b(x.view(x.shape[0], 8, *x.shape[2:])).mean((2, 3)))


def test_what_stays_as_it_is_says_why() -> None:
    proposal = propose(HardCoded(), torch.randn(2, 3, 8, 8))
    assert [one.name for one in proposal.findings] == ["b.width"]
    stays = {one.root: one.reason for one in proposal.refused}
    assert re.match("the network does not run without them .*shape", stays["a"])


class HeldTwice(nn.Module):
    """Blocks that a list holds, and the sequence that runs."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Tanh()) for _ in range(2))
        self.body, self.head = nn.Sequential(*self.layers), nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3)))


def test_blocks_that_are_held_twice_stay() -> None:
    proposal = propose(HeldTwice(), torch.randn(2, 3, 8, 8))
    assert not [one for one in proposal.findings if one.role == "depth"]
    stays = {one.root: one.reason for one in proposal.refused}
    assert stays["layers.0 to layers.1"].endswith("computes something else than with them masked")


def test_a_network_that_cannot_be_taken_says_so() -> None:
    network, _ = made("MobileNet")
    with pytest.raises(ValueError, match=r"Sequential does not run on \(2, 1, 8, 8\)"):
        propose(network, torch.randn(2, 1, 8, 8))

    class Boxes(nn.Module):
        def forward(self, x: Tensor) -> list[Tensor]:
            return [x]

    with pytest.raises(ValueError, match="Boxes gives a list; it has to give a tensor, or something with"):
        propose(Boxes(), torch.randn(2, 3, 8, 8))


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"patch.wdth": (8, 24)}, "unknown choice 'patch.wdth'. Did you mean 'patch.width'"),
        (
            {"patch.width": (12, 24)},
            "'patch.width' takes 16 to 24, in steps of 8 (the network has 24), not 12",
        ),
        (
            {"patch.width": (16, 32)},
            "'patch.width' takes 16 to 24, in steps of 8 (the network has 24), not 32",
        ),
        ({"blocks.depth": (0, 2)}, "'blocks.depth' takes 1 to 2"),
        ({"patch.width": (24, 16)}, "have to ascend"),
        ({}, "a space needs a choice"),
    ],
)
def test_values_that_the_network_cannot_have_are_refused(
    choices: dict[str, tuple[int, ...]], said: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        proposed("ViT").space(choices)


def test_taking_a_network_up_leaves_it_untouched() -> None:
    network, example = made("TransformerEncoder")
    state = copy.deepcopy(network.state_dict())
    propose(network, example)
    assert any(isinstance(module, nn.MultiheadAttention) for module in network.modules())
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
