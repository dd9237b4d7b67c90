"""What attention is put together from: each setting computes its formula, in any combination, at any size."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from compress.pruning.prune import prune
from nas.supernet.supernet import Supernet
from search_spaces.mixers import Mixer, mixer
from search_spaces.mixers.attention.fused import FusedTokens
from search_spaces.mixers.attention.partition import Partition, adjacent, grid
from search_spaces.reference.macs import count_macs
from search_spaces.spaces.metaformer import Stage, metaformer
from tests.search_spaces.mixers.references import REFERENCES, attention, first, reduced
from tests.search_spaces.mixers.test_every_mixer import images, made

SETTINGS: list[dict[str, Any]] = [
    {},
    {"logits": "cosine"},
    {"weights": "relu", "bias": "none"},
    {"bias": "offset"},
    {"logits": "cosine", "weights": "relu", "bias": "offset"},
]


def with_settings(name: str, settings: dict[str, Any]) -> Mixer:
    return mixer(name).configured(settings)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("name", ["window", "double_window", "grid"])
def test_every_setting_computes_its_formula(name: str, settings: dict[str, Any]) -> None:
    one = with_settings(name, settings)
    values = {"window": 3} | ({"shift": True} if name == "window" else {})
    module = made(one, {**values, **settings}, channels=48).double()
    for size in ((5, 7), (4, 3), (3, 2)):
        x = images(48, size).double()
        expected = attention.REFERENCES[name](x, module.state_dict(), values)
        torch.testing.assert_close(module(x), expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("head", [1, 8])
def test_heads_may_be_of_any_size_and_depthwise_attention_has_one_a_channel(head: int) -> None:
    values = {"window": 3, "shift": False, "head_channels": head}
    module = made(mixer("window"), values, channels=24).double()
    x = images(24, (5, 4)).double()
    expected = attention.REFERENCES["window"](x, module.state_dict(), values)
    torch.testing.assert_close(module(x), expected, atol=1e-9, rtol=1e-9)


def test_values_of_a_head_may_be_wider_than_its_keys_and_heads_know_no_width() -> None:
    values = {"heads": 3, "head_channels": 5, "value_ratio": 2}
    module = made(mixer("multi_head"), values, channels=12).double()
    x = images(12, (5, 4)).double()
    torch.testing.assert_close(module(x), first.REFERENCES["multi_head"](x, module.state_dict(), values))
    assert module.get_submodule("v.conv").out_channels == 3 * 5 * 2


@pytest.mark.parametrize("settings", [{"encode": True}, {"logits": "cosine", "weights": "relu"}], ids=str)
def test_every_setting_of_pooled_keys_computes_its_formula(settings: dict[str, Any]) -> None:
    module = made(mixer("pooled_attention"), {"reduction": 2, **settings}, channels=32).double()
    x = images(32, (5, 4)).double()
    expected = reduced.REFERENCES["pooled_attention"](x, module.state_dict(), {"reduction": 2})
    torch.testing.assert_close(module(x), expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("neighbourhood", {"kernel": 3, "dilation": 2}),
        ("span_attention", {"attended": 0.25, "kernel": 3}),
        ("span_attention", {"attended": 0.5, "kernel": 3}),
        ("span_attention", {"attended": 0.75, "kernel": 3}),
        ("head_tokens", {}),
        ("factorized_attention", {"window": 2, "reduction": 2}),
        ("inception_attention", {"attended": 0.5}),
        ("subspace", {"subspace": 8}),
        ("strip_attention", {"reduction": 2, "query_share": 0.5}),
    ],
)
def test_many_heads_compute_their_formula(name: str, values: dict[str, Any]) -> None:
    """Which head is of which kind shows with more than one."""
    module = made(mixer(name), values, channels=96).double()
    x = images(96, (4, 3)).double()
    expected = REFERENCES[name](x, module.state_dict(), values)
    torch.testing.assert_close(module(x), expected, atol=1e-9, rtol=1e-9)


def test_products_with_shifted_maps_are_counted() -> None:
    """Four projections, and for every neighbour a product with its key and one with its value."""
    positions, channels, kernel = 20, 32, 5
    module = made(mixer("neighbourhood"), {"kernel": kernel, "dilation": 1}, channels=channels)
    expected = (4 * channels**2 + 2 * kernel**2 * channels) * positions
    assert count_macs(module, (channels, 4, 5)) == expected
    module = made(mixer("span_attention"), {"attended": 0.5, "kernel": kernel}, channels=channels)
    half = channels // 2  # one head attends, one is a convolution
    attention_head = 4 * channels * half + 2 * positions * half
    convolution = 4 * channels * half + kernel**2 * (channels + half + half)
    assert count_macs(module, (channels, 4, 5)) == (attention_head + convolution) * positions


def test_stripes_know_where_their_values_lie_by_a_convolution_inside_them() -> None:
    """The locally enhanced positional encoding of CSWin."""
    module = made(mixer("cswin"), {"stripe": 2, "local": True}, channels=48).double()
    for size in ((4, 6), (5, 7)):
        x = images(48, size).double()
        expected = first.REFERENCES["cswin"](x, module.state_dict(), {"stripe": 2})
        torch.testing.assert_close(module(x), expected, atol=1e-9, rtol=1e-9)


def test_a_cut_and_its_joining_leave_the_map_as_it_was() -> None:
    for size, longest, shifted in itertools.product(range(1, 12), (1, 2, 3, 5, 8), (False, True)):
        for side in (adjacent(size, longest, shifted=shifted), grid(size, longest)):
            assert side.length <= longest
            assert 0 <= side.padding < side.length or side.groups == 1 or side.spread
            partition = Partition(side, adjacent(4, 3))
            x = torch.randn(2, 3, size, 4)
            joined = partition.join(partition.split(partition.arrange(x)))
            assert torch.equal(partition.restore(joined), x)


@pytest.mark.parametrize(("name", "bias"), [("window", "log"), ("grid", "offset")])
def test_windows_of_all_sizes_share_all_weights(name: str, bias: str) -> None:
    one = with_settings(name, {"bias": bias})
    shapes = []
    for window in (2, 4, 7):
        values = {"window": window} | ({"shift": window == 4} if name == "window" else {})
        state = one(32, activation="relu", bias=bias, **values).state_dict()
        shapes.append({key: tensor.shape for key, tensor in state.items()})
    assert shapes[0] == shapes[1] == shapes[2]


@pytest.mark.parametrize("name", ["window", "neighbourhood", "involution", "semantic_tokens"])
def test_pruning_finds_an_end_in_networks_that_have_it(name: str) -> None:
    """Whatever it can follow of the mixer, it prunes the rest."""
    stage = Stage(widths=(32,), depths=(1,), mixers=("identity", name), ratios=(1,))
    space = metaformer("pruned", [stage], classes=3, input_shape=(1, 8, 8))
    network = space.build({**space.smallest(), "stage0.block0.mixer": name}).eval()
    pruned = prune(network, torch.zeros(1, 1, 8, 8), keep=0.5)
    assert any("mlp" in cut.root for cut in pruned.cuts)
    assert pruned.network(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


def test_swin_v2_is_a_setting_that_a_recipe_names_and_a_search_decides_its_window() -> None:
    options = {"window": {"window": [2, 4], "logits": "cosine", "bias": "log", "head_channels": 8}}
    stage = Stage(widths=(8, 24), depths=(1,), mixers=("identity", "window"), options=options)
    space = metaformer("swin", [stage], classes=3, input_shape=(1, 12, 12))
    own = {one.name: (one.values, one.role) for one in space.choices if one.parent == "stage0.block0.mixer"}
    assert own == {
        "stage0.block0.window": ((2, 4), "kernel"),
        "stage0.block0.shift": ((False, True), "category"),
    }
    arch = {**space.largest(), "stage0.block0.mixer": "window", "stage0.block0.shift": True}
    network = Supernet(space).subnet({**arch, "stage0.block0.window": 4})
    assert any(name.endswith("attend.scale") for name, _ in network.named_parameters())
    assert network(torch.zeros(2, 1, 12, 12)).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("window", {"logits": "cosin"}, "window.logits = 'cosin': .*'dot' or 'cosine'"),
        ("window", {"window": [0]}, "window.window = .*greater than or equal to 1"),
        ("span_attention", {"attended": [0.3]}, "attended = .*multiple of 0.25"),
        ("inception_attention", {"unit": 12}, "unit = 12: .*multiple of 8"),
        ("grid", {"shift": True}, "'grid' has no setting 'shift'"),
        ("window", {"head_channels": 12}, r"needs widths that are multiples of 12, got \[16\]"),
    ],
)
def test_bad_settings_are_refused_in_words(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Stage(widths=(16,), depths=(1,), mixers=(name,), options={name: options})


def test_tokens_that_tell_nothing_beside_others_are_fused_to_finite_ones() -> None:
    torch.manual_seed(0)
    network = FusedTokens(16, tokens_kept=0.5)
    with torch.no_grad():
        network.scale.fill_(1000.0)  # the softmax is 0 for all but a few
    outputs = network(torch.randn(2, 16, 4, 4))
    outputs.sum().backward()
    assert outputs.isfinite().all()
    assert all(one.grad.isfinite().all() for one in network.parameters())
