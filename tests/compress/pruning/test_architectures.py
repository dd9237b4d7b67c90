"""What is cut equals what is masked, in networks of many kinds; what has no exact cut is refused by name."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils import _pytree as trees

from compress.pruning.channels import Cut, cut_channels, refuse_other_widths
from compress.pruning.groups import channel_groups, provable
from compress.pruning.prune import Pruned, prune
from tests.compress.pruning.architectures import ARCHITECTURES, Residual, made
from tests.compress.pruning.masked import mask_channels

# For each network, layers that must be cut, and those that must be refused with a word of the reason.
EXPECTED: dict[str, tuple[set[str], dict[str, str]]] = {
    "packed, heads of 8": ({"0", "1.qkv"}, {}),
    # The number of heads is fixed: fewer channels would be smaller heads, which score otherwise.
    "packed, 4 heads": ({"0"}, {"1.qkv": "shape"}),
    "separate": ({"0", "1.v"}, {}),
    "shuffle, BatchNorm": ({"c"}, {"a": "shape"}),
    "shuffle, LayerNorm": ({"c"}, {"a": "shape"}),
    "GroupNorm": ({"one", "two"}, {}),
    "ConvNeXt": ({"stem", "up"}, {}),
    "U-Net": ({"down", "deep", "up", "join"}, {}),
    "grouped": ({"4"}, {"0": "groups=4", "2": "groups=4"}),
    "depthwise": ({"2", "4"}, {}),
    "transposed": ({"0", "2", "4"}, {}),
    "transposed, depthwise": ({"2", "4"}, {}),
    "GRU": ({"b"}, {"a": "torch-pruning cannot follow its channels"}),
    "Siamese": ({"trunk.0", "trunk.3"}, {}),
    "float in forward": ({"a", "b"}, {}),
    "weight norm": ({"0", "2", "4"}, {}),
}


def _outputs(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([one.flatten(1) for one in trees.tree_leaves(network(images))], 1)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_cut_network_equals_the_masked_one(name):
    network, example = made(name)
    pruned = prune(network, example, keep=0.5, counts=4)
    cut, refused = EXPECTED[name]
    assert {one.root for one in pruned.cuts} == cut
    reasons = {one.root: one.reason for one in pruned.refused if "outputs" not in one.reason}
    assert reasons.keys() == refused.keys()
    assert all(word in reasons[root] for root, word in refused.items())
    got, masked = pruned.network.eval(), mask_channels(network, example, pruned.cuts).eval()
    right = _outputs(masked, example)
    assert (_outputs(got, example) - right).abs().max() <= 1e-4 * right.abs().max()
    # The comparison could fail: the masked channels matter to the outputs.
    assert (_outputs(network, example) - right).abs().max() > 1e-2 * right.abs().max()
    _holds_what_is_recorded(network, pruned)


def _holds_what_is_recorded(network: nn.Module, pruned: Pruned) -> None:
    for cut in pruned.cuts:
        layer = pruned.network.get_submodule(cut.root)
        assert len(cut.kept) == cut.channels // 2
        assert (layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels) == len(cut.kept)
    assert all(parameter.numel() for parameter in pruned.network.parameters())
    assert sum(p.numel() for p in pruned.network.parameters()) < sum(p.numel() for p in network.parameters())


def test_a_layer_norm_is_the_one_over_the_channels_that_are_left():
    """By hand, and on no mask of ours: the norm's formula on the kept channels alone."""
    network = nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 3)).double()
    nn.init.uniform_(network[1].weight, 0.5, 1.5)
    kept = (0, 2, 3, 9, 10, 15)
    cut, x = Cut(root="0", channels=16, kept=kept), torch.randn(4, 6, dtype=torch.float64)
    norm, index = network[1], torch.tensor(kept)
    with torch.no_grad():
        narrow = F.layer_norm(network[0](x)[:, index], (6,), norm.weight[index], norm.bias[index])
        right = F.linear(F.gelu(narrow), network[3].weight[:, index], network[3].bias)
        for made_from in (cut_channels(network, x, [cut]), mask_channels(network, x, [cut])):
            torch.testing.assert_close(made_from(x), right)


def _formula_of_group_norm(x: Tensor, norm: nn.GroupNorm, kept: Tensor) -> Tensor:
    """Each group of the whole norm that is kept, by its formula; the groups are of 4 channels."""
    weight, bias = (one[kept].reshape(1, -1, 1, 1) for one in (norm.weight, norm.bias))
    groups = x.unflatten(1, (-1, 4))
    mean, variance = groups.mean((2, 3, 4), keepdim=True), groups.var((2, 3, 4), correction=0, keepdim=True)
    return ((groups - mean) / (variance + norm.eps).sqrt()).flatten(1, 2) * weight + bias


def _channel_by_channel(x: Tensor, layer: nn.Conv2d, kept: Tensor) -> Tensor:
    """A depthwise convolution as one convolution for each channel that is kept."""
    rows = [
        F.conv2d(x[:, [place]], layer.weight[[channel]], layer.bias[[channel]], padding=1)
        for place, channel in enumerate(kept.tolist())
    ]
    return torch.cat(rows, 1)


def _spread(x: Tensor, layer: nn.ConvTranspose2d, kept: Tensor) -> Tensor:
    """A transposed convolution of kernel and stride 2: each pixel spreads over a square of its own."""
    squares = torch.einsum("nchw,coij->nohiwj", x, layer.weight[kept])
    return squares.flatten(4, 5).flatten(2, 3) + layer.bias.reshape(1, -1, 1, 1)


@pytest.mark.parametrize(
    ("middle", "by_hand"),
    [
        (nn.GroupNorm(4, 16), _formula_of_group_norm),
        (nn.Conv2d(16, 16, 3, padding=1, groups=16), _channel_by_channel),
        (nn.ConvTranspose2d(16, 16, 2, 2), _spread),
    ],
    ids=["GroupNorm", "depthwise", "transposed"],
)
def test_other_layers_are_what_is_left_of_them_by_hand(middle, by_hand):
    """On no mask of ours: the layer's formula on the kept channels alone."""
    network = nn.Sequential(nn.Conv2d(3, 16, 1), middle, nn.ReLU(), nn.Conv2d(16, 5, 1)).double()
    for parameter in network[1].parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    kept = (0, 1, 2, 3, 12, 13, 14, 15)  # the first and the last group
    cut, x = Cut(root="0", channels=16, kept=kept), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    index, last = torch.tensor(kept), network[3]
    with torch.no_grad():
        left = by_hand(network[0](x)[:, index], middle, index).relu()
        incoming = last.weight if left.shape[1] == 16 else last.weight[:, index]
        right = F.conv2d(left, incoming, last.bias)
        for made_from in (cut_channels(network, x, [cut]), mask_channels(network, x, [cut])):
            torch.testing.assert_close(made_from(x), right)


def test_a_group_norm_loses_whole_groups_and_their_number():
    network, example = Residual().eval(), torch.randn(2, 3, 8, 8)
    pruned = prune(network, example, keep=0.5, counts=4)
    assert [(norm.num_groups, norm.num_channels) for norm in pruned.network.norms] == [(2, 16)] * 3
    kept = torch.tensor(next(cut for cut in pruned.cuts if cut.root == "one").kept)
    assert all(sum(int(i) // 8 == group for i in kept) in (0, 8) for group in range(4))
    groups, _ = channel_groups(network, example)
    assert {group.run for group in groups} == {8}


def test_a_cut_that_would_take_more_than_it_says_is_refused():
    network, example = made("packed, heads of 8")
    some = Cut(root="1.qkv", channels=96, kept=tuple(range(8, 96)))
    with pytest.raises(ValueError, match=r"24 channels of 1\.qkv hang together where 8 are to be cut"):
        cut_channels(network, example, [some])
    kept, refused = provable(network, example, [some, Cut(root="0", channels=32, kept=tuple(range(16)))])
    assert [cut.root for cut in kept] == ["0"]
    assert [(one.root, "hang together" in one.reason) for one in refused] == [("1.qkv", True)]


def test_what_is_left_is_compared_with_the_record():
    network = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
    with pytest.raises(ValueError, match="0 was to keep 4 channels and has 8"):
        refuse_other_widths(network, [Cut(root="0", channels=8, kept=(0, 1, 2, 3))])
    network[0].weight = nn.Parameter(torch.zeros(0, 4))
    with pytest.raises(ValueError, match=r"nothing is left of 0\.weight"):
        refuse_other_widths(network, [])


class _Through(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.a, self.layer, self.head = nn.Linear(8, 16), layer, nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y = self.layer(x, x, x) if isinstance(self.layer, nn.MultiheadAttention) else self.layer(x)
        return self.head(y[0] if isinstance(y, tuple) else y)


class _OwnNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.LSTM(16, 16, batch_first=True), "torch-pruning cannot follow its channels"),
        (nn.MultiheadAttention(16, 2, batch_first=True), r"layer \(MultiheadAttention\), for which"),
        (nn.LayerNorm((6, 16)), r"layer \(LayerNorm\), for which"),
        (_OwnNorm(), "cutting them changes the network differently from masking them"),
        (nn.Softmax(-1), "cutting them changes the network differently from masking them"),
    ],
)
def test_what_cannot_be_compared_or_is_not_equal_is_refused_by_name(layer, reason):
    pruned = prune(_Through(layer).eval(), torch.randn(1, 6, 8), keep=0.5, counts=4)
    assert pruned.cuts == ()
    (said,) = [one.reason for one in pruned.refused if one.root == "a"]
    assert re.search(reason, said), said


def test_frozen_layers_stay_and_are_named():
    network, example = made("Siamese")
    network.trunk[0].weight.requires_grad_(False)
    for importance in ("l2", "taylor"):
        pruned = prune(
            network,
            example,
            keep=0.5,
            counts=4,
            importance=importance,
            loss=lambda one: one(example).square().mean(),
        )
        assert [cut.root for cut in pruned.cuts] == ["trunk.3"]
        assert (
            "the weights of trunk.0 are frozen" in {one.root: one.reason for one in pruned.refused}["trunk.0"]
        )
        flags = {name: parameter.requires_grad for name, parameter in pruned.network.named_parameters()}
        assert [name for name, trained in flags.items() if not trained] == ["trunk.0.weight"]


@pytest.mark.parametrize(
    "asked",
    [{}, {"importance": "taylor"}, {"importance": "hessian"}, {"allocation": "equal_slope"}],
    ids=str,
)
def test_of_a_network_that_is_only_run_nothing_is_frozen_in_particular(asked):
    network, example = made("Siamese")
    material = {"loss": lambda one: one(example).square().mean(), "images": example}
    trained = prune(network, example, keep=0.5, counts=4, **material, **asked)
    pruned = prune(network.requires_grad_(False), example, keep=0.5, counts=4, **material, **asked)
    assert pruned.cuts == trained.cuts
    assert {cut.root for cut in pruned.cuts} == {"trunk.0", "trunk.3"}
    assert not any(parameter.requires_grad for parameter in pruned.network.parameters())


@pytest.mark.parametrize(
    "computed",
    [
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
        lambda layer: nn.utils.prune.l1_unstructured(layer, "weight", 0.2),
    ],
)
@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_frozen_weights_that_are_computed_stay_and_stay_frozen(computed):
    network = nn.Sequential(
        computed(nn.Conv2d(3, 16, 3)), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Conv2d(16, 4, 3)
    ).eval()
    network[0].requires_grad_(False)
    pruned = prune(network, torch.rand(1, 3, 8, 8), keep=0.5, counts=4)
    assert [cut.root for cut in pruned.cuts] == ["2"]
    assert "the weights of 0 are frozen" in {one.root: one.reason for one in pruned.refused}["0"]
    frozen = {name for name, one in pruned.network.named_parameters() if not one.requires_grad}
    assert frozen == {"0.weight", "0.bias"}
    network[0].requires_grad_(True)
    pruned = prune(network, torch.rand(1, 3, 8, 8), keep=0.5, counts=4)
    assert {cut.root for cut in pruned.cuts} == {"0", "2"}
    assert all(one.requires_grad for one in pruned.network.parameters())


class _Truths(nn.Module):
    """Logits of tokens, truths, classes and an empty tensor.

    Args:
        by_place: whether truths are of the even and the odd channels, which change places where one is cut.
    """

    def __init__(self, by_place: bool) -> None:
        super().__init__()
        self.a, self.b, self.by_place = nn.Linear(8, 16), nn.Linear(16, 4), by_place

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        hidden = self.a(x).relu()
        y = self.b(hidden)
        truths = hidden[..., ::2].sum(-1) > hidden[..., 1::2].sum(-1) if self.by_place else y > 0
        return y, truths, y.argmax(-1), y[:0]


def test_outputs_that_are_truths_or_empty_are_compared_as_what_they_are():
    pruned = prune(_Truths(by_place=False), torch.rand(1, 64, 8), keep=0.5, counts=4)
    assert [cut.root for cut in pruned.cuts] == ["a"]
    (group,), _ = channel_groups(_Truths(by_place=True), torch.rand(1, 64, 8))
    assert group.run == 2  # an even and an odd one at a time


def test_a_criterion_that_fails_is_named():
    def mine(group):
        raise KeyError("scale")

    network, example = made("Siamese")
    with pytest.raises(ValueError, match="importance 'mine' cannot rank them .*KeyError: 'scale'"):
        prune(network, example, keep=0.5, importance=mine)


def test_other_number_formats_and_token_numbers():
    network, example = made("Siamese")
    half = prune(network.bfloat16(), example, keep=0.5, counts=4)
    assert {cut.root for cut in half.cuts} == {"trunk.0", "trunk.3"}
    assert next(half.network.parameters()).dtype == torch.bfloat16
    words = nn.Sequential(nn.Embedding(50, 8), nn.Linear(8, 16), nn.LayerNorm(16), nn.Linear(16, 4))
    tokens = torch.randint(0, 50, (1, 12))
    (cut,) = prune(words.eval(), tokens, keep=0.5, counts=4).cuts
    assert (cut.root, len(cut.kept)) == ("1", 8)


class _BothWays(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 16, batch_first=True, bidirectional=True)
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


def test_what_torch_pruning_cannot_trace_is_told_from_what_does_not_run():
    with pytest.raises(ValueError, match="_BothWays cannot be pruned: torch-pruning cannot trace it"):
        prune(_BothWays().eval(), torch.randn(1, 6, 8), keep=0.5)


def test_networks_of_two_inputs_are_refused_in_words():
    with pytest.raises(ValueError, match="Identity cannot be pruned: only networks that take one tensor can"):
        prune(nn.Identity(), (torch.zeros(1), torch.zeros(1)), keep=0.5)
