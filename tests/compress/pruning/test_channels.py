"""Contract: the physically pruned network equals the masked one, and what cannot be cut is left alone."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from compress.pruning.channels import Cut, cut_channels
from compress.pruning.groups import ChannelGroup, channel_groups, provable
from tests.compress.networks import EXAMPLE, Concatenated, FixedReshape, digits_network, randomise_norms
from tests.compress.pruning.masked import mask_channels

NETWORKS = {
    "digits": randomise_norms(digits_network(**{"stage0.block0.mixer": "attention"})).double(),
    "concatenated": randomise_norms(Concatenated()).double().eval(),
}
IMAGES = torch.randn(3, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
GROUPS = {name: channel_groups(network, IMAGES)[0] for name, network in NETWORKS.items()}


@st.composite
def _cuts(draw: st.DrawFn, groups: list[ChannelGroup]) -> list[Cut]:
    cuts = []
    for group in groups:
        runs = group.channels // group.run
        kept_runs = draw(st.sets(st.integers(0, runs - 1), min_size=1, max_size=runs))
        kept = tuple(run * group.run + offset for run in sorted(kept_runs) for offset in range(group.run))
        if len(kept) < group.channels:
            cuts.append(Cut(root=group.root, channels=group.channels, kept=kept))
    return cuts


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_the_pruned_network_equals_the_masked_one(name, data):
    network, cuts = NETWORKS[name], data.draw(_cuts(GROUPS[name]))
    pruned, masked = cut_channels(network, IMAGES, cuts), mask_channels(network, IMAGES, cuts)
    assert (pruned(IMAGES) - masked(IMAGES)).abs().max() <= 1e-9 * masked(IMAGES).abs().max()
    modules = dict(pruned.named_modules())
    for cut in cuts:
        assert modules[cut.root].weight.shape[0] == len(cut.kept)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_channel_but_the_outputs_belongs_to_a_group(name):
    _, refused = channel_groups(NETWORKS[name], IMAGES)
    assert [(group.channels, group.reason) for group in refused] == [(10, "they are the network's outputs")]


def test_attention_is_cut_in_whole_heads_and_the_residual_stream_by_single_channels():
    runs = {group.root: group.run for group in GROUPS["digits"]}
    heads = [run for root, run in runs.items() if "attention" in root]
    assert heads == [16, 16]
    assert {run for root, run in runs.items() if "attention" not in root} == {1}


def test_a_fixed_channel_count_is_left_alone_with_the_reason():
    groups, refused = channel_groups(FixedReshape(), EXAMPLE)
    assert [group.root for group in groups] == ["free"]
    reasons = {group.root: group.reason for group in refused}
    assert "does not run without them" in reasons["wide"]


class _Shuffled(nn.Module):
    """Adds each channel's neighbour, which cutting changes and masking does not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 8, 1), nn.Conv2d(8, 10, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(x + x.roll(1, dims=1)).mean((2, 3))


def test_a_cut_that_changes_what_is_left_is_refused():
    groups, refused = channel_groups(_Shuffled(), EXAMPLE)
    assert groups == []
    assert refused[0].reason or refused[1].reason
    reasons = {group.root: group.reason for group in refused}
    assert reasons["first"] == "cutting them changes the network differently from masking them"


def test_a_layer_norm_over_the_channels_may_be_cut():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 10))
    groups, _ = channel_groups(network, EXAMPLE)
    assert groups == [ChannelGroup(root="1", channels=32)]
    assert cut_channels(network, EXAMPLE, [Cut(root="1", channels=32, kept=tuple(range(16)))])(
        EXAMPLE
    ).shape == (
        1,
        10,
    )


def test_ignored_layers_keep_their_channels():
    network = digits_network()
    everything = {group.root for group in channel_groups(network, EXAMPLE)[0]}
    rest = {group.root for group in channel_groups(network, EXAMPLE, ignore=["stage1_block0_mlp"])[0]}
    # project writes the residual stream, expand its own hidden channels; both groups stay whole.
    assert {root for root in everything if "stage1_block0_mlp" in root}.isdisjoint(rest)
    assert rest < everything


def test_cutting_leaves_the_network_as_it_was():
    network = digits_network().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    groups, _ = channel_groups(network, EXAMPLE)
    cut_channels(network, EXAMPLE, [_half(groups[0])])
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(module.training for module in network.modules())


def test_cuts_survive_json_and_rebuild_the_same_network():
    network = digits_network()
    cuts = [_half(group) for group in channel_groups(network, EXAMPLE)[0]]
    again = [Cut.from_json(json.loads(json.dumps(cut.to_json()))) for cut in cuts]
    assert again == cuts
    first, second = cut_channels(network, EXAMPLE, cuts), cut_channels(network, EXAMPLE, again)
    assert torch.equal(first(EXAMPLE), second(EXAMPLE))
    assert provable(network, EXAMPLE, cuts) == (tuple(cuts), ())


def test_a_cut_of_another_network_is_refused():
    with pytest.raises(
        ValueError, match="a cut of 'stem' from 99 to 1 channels does not belong .* has 16 channels"
    ):
        cut_channels(Concatenated(), EXAMPLE, [Cut(root="stem", channels=99, kept=(0,))])
    with pytest.raises(ValueError, match="no such layer"):
        cut_channels(Concatenated(), EXAMPLE, [Cut(root="trunk", channels=16, kept=(0,))])


def test_a_network_that_does_not_run_on_the_example_is_named():
    with pytest.raises(
        ValueError, match=r"Concatenated cannot be pruned: it cannot be traced on an input of \(1, 3, 8, 8\)"
    ):
        channel_groups(Concatenated(), torch.zeros(1, 3, 8, 8))


def _half(group: ChannelGroup) -> Cut:
    kept = group.channels // group.run // 2 * group.run
    return Cut(root=group.root, channels=group.channels, kept=tuple(range(kept)))
