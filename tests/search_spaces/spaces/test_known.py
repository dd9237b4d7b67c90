"""Published spaces: their base networks are archs of them and have the published size."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas.supernet.prefix import check_prefix_rule
from search_spaces.choice import Choice
from search_spaces.mixers.static.large_kernel import LargeKernel
from search_spaces.space import SearchSpace
from search_spaces.spaces.convnet import ConvNet, ConvStage, convnet
from search_spaces.spaces.known import KNOWN
from search_spaces.spaces.presets import preset


def macs_by_torch(network: nn.Module, side: int) -> float:
    """Of convolutions, linear layers and products of matrices, for one image."""
    with FlopCounterMode(display=False) as counter:
        network.eval()(torch.empty(1, 3, side, side))
    return counter.get_total_flops() / 2


FARTHER = {"moat-0": 0.022}
"""Those that are not within 1.6 %."""


@pytest.mark.parametrize("name", KNOWN)
def test_its_base_network_has_the_published_size(name: str) -> None:
    """Figures are rounded, and norms, gates and stems differ as the files say; branches are folded."""
    known = KNOWN[name]
    space = preset(name, classes=1000, input_shape=(3, known.side, known.side))
    with torch.device("meta"):
        network = space.build(known.base)
        for path, module in list(network.named_modules()):
            if isinstance(module, LargeKernel):
                network.set_submodule(path, module.folded())
        macs = macs_by_torch(network, known.side)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    near = FARTHER.get(name, 0.016)
    assert parameters == pytest.approx(known.parameters, rel=near)
    assert macs == pytest.approx(known.macs, rel=near)


def test_a_network_of_once_for_all_gives_each_block_its_own_kernel_and_expansion() -> None:
    space = preset("mobilenetv3", classes=10, input_shape=(3, 64, 64))
    chosen = {"stage1.block0.mbconv.kernel": 7, "stage1.block1.mbconv.expansion": 6}
    layers = {layer.name: dict(layer.sizes) for layer in space.lower({**KNOWN["mobilenetv3"].base, **chosen})}
    first, second = layers["stage1_block0_mbconv"], layers["stage1_block1_mbconv"]
    assert (first["kernel"], first["expansion"]) == (7, 4)
    assert (second["kernel"], second["expansion"]) == (3, 6)


def unlike(*blocks: str) -> SearchSpace:
    """A small space with everything that the published ones need beside the others."""
    stages = (
        ConvStage(widths=(8,), depths=(1,), blocks=("mbconv",), stride=1, activation="relu"),
        ConvStage(widths=(8, 16), depths=(1, 2), blocks=blocks, alike=False),
    )
    net = ConvNet(stages=stages, stem_width=4, last_width=12, hidden_width=6, activation="hardswish")
    return convnet("unlike", net, classes=5, input_shape=(3, 9, 7))


def test_choices_of_a_block_are_active_where_its_place_is_filled() -> None:
    space = unlike("mbconv")
    found = {choice.name: choice for choice in space.choices}
    assert found["stage1.block1.mbconv.kernel"] == Choice(
        "stage1.block1.mbconv.kernel", (3, 5), "stage1.depth", (2,), "kernel"
    )
    assert found["stage1.block0.mbconv.kernel"].parent_values == (1, 2)
    assert "stage1.mbconv.kernel" not in found
    assert "stage0.mbconv.kernel" in found


def test_stem_and_head_and_activations_are_those_of_the_net() -> None:
    space = unlike("mbconv")
    network = space.build(space.to_arch([0] * len(space.choices)))
    stem, head = network.get_submodule("stem"), network.get_submodule("head")
    assert stem.conv.out_channels == 4
    assert isinstance(stem.act, nn.Hardswish)
    assert isinstance(network.get_submodule("stage0_block0_mbconv.inner.depthwise.act"), nn.ReLU)
    assert (head.last.conv.out_channels, head.hidden.out_features, head.classify.in_features) == (12, 6, 6)
    assert network.eval()(torch.zeros(2, 3, 9, 7)).shape == (2, 5)


def test_it_obeys_the_prefix_rule() -> None:
    assert check_prefix_rule(unlike("mbconv"), networks=1) > 2


def test_blocks_that_are_not_alike_are_of_one_kind() -> None:
    with pytest.raises(ValueError, match="takes one kind of block"):
        unlike("mbconv", "residual")
    with pytest.raises(ValueError, match="stage 0.*takes one kind of block"):
        preset("mobilenetv2", classes=10, input_shape=(3, 64, 64), blocks=["mbconv", "residual"])


def test_an_unknown_activation_of_a_stage_is_named() -> None:
    with pytest.raises(ValueError, match="hardswish"):
        ConvStage(widths=(8,), depths=(1,), blocks=("mbconv",), activation="hardswissh")
