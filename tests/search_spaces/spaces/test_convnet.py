"""Spaces of convolutional stages: by-hand networks are points, layers add up, weights are shared."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.supernet.prefix import check_prefix_rule
from nas.supernet.supernet import Supernet
from search_spaces.blocks import BLOCKS, Block, register_block
from search_spaces.choice import Choice
from search_spaces.mixers import MIXERS, Mixer, register_mixer
from search_spaces.reference.macs import count_macs
from search_spaces.space import Arch, SearchSpace
from search_spaces.spaces.convnet import ConvNet, ConvStage, convnet
from search_spaces.spaces.fast import CONVNETS
from search_spaces.spaces.metaformer import Stage, metaformer
from search_spaces.spaces.presets import preset
from tests.search_spaces.spaces.by_hand import ByHand


def small(*blocks: str, **options: dict[str, object]) -> SearchSpace:
    stages = [
        ConvStage(widths=(16, 32), depths=(1, 2), blocks=blocks, stride=stride, options=options)
        for stride in (1, 2)
    ]
    net = ConvNet(stages=tuple(stages), stem_strides=(1, 2))
    return convnet("small", net, classes=5, input_shape=(3, 9, 7))


def uniform(kind: str, stride: int, widths: tuple[int, ...], depths: tuple[int, ...]) -> Arch:
    """The arch of a preset with one kind of block."""
    arch: dict[str, object] = {"stem.stride": stride}
    for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        arch |= {f"stage{index}.{key}": value for key, value in (("width", width), ("depth", depth))}
        arch |= {f"stage{index}.block": kind}
    return arch  # type: ignore[return-value]


HAND_MADE = [
    ("residual", 2, (16, 32, 64), (1, 1, 1)),
    ("residual", 2, (24, 48, 96), (1, 1, 1)),
    ("residual", 2, (16, 48, 96), (1, 1, 2)),
    ("residual", 1, (16, 32, 64), (3, 3, 3)),
    ("residual", 2, (64, 128, 256), (2, 2, 2)),
    ("mbconv", 2, (16, 32, 64), (1, 2, 2)),
    ("convnext", 2, (32, 64, 128), (1, 1, 3)),
    ("depthwise", 1, (16, 32, 64), (1, 1, 1)),
]


def weights(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("kind", "stride", "widths", "depths"), HAND_MADE)
def test_the_preset_has_the_networks_that_are_made_by_hand(
    kind: str, stride: int, widths: tuple[int, ...], depths: tuple[int, ...]
) -> None:
    """As many weights and multiply-accumulates, and with the same weights the same outputs."""
    space = preset("fast-32", classes=10, input_shape=(3, 32, 32))
    ours = space.build(uniform(kind, stride, widths, depths)).eval()
    theirs = ByHand(kind, stride, widths, depths).eval()
    assert weights(ours) == weights(theirs)
    assert count_macs(ours, (3, 32, 32)) == count_macs(theirs, (3, 32, 32))
    same_weights(ours, theirs)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-4, rtol=1e-4)


def same_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Both list their tensors in the order in which they are used."""
    with torch.no_grad():
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert one.shape == other.shape
            one.copy_(other)


def test_a_metaformer_is_a_point() -> None:
    stages = [
        Stage(widths=(16,), depths=(2,), mixers=("attention",), ratios=(2,), resolution_step=2),
        Stage(widths=(32,), depths=(1,), mixers=("attention",), ratios=(2,), resolution_step=2),
    ]
    theirs = metaformer("plain", stages, classes=5, input_shape=(3, 9, 7))
    space = small("residual", "attention", attention={"ratio": 2})
    arch = {"stem.stride": 2, "stage0.width": 16, "stage0.depth": 2, "stage1.width": 32, "stage1.depth": 1}
    ours = space.build({**arch, "stage0.block": "attention", "stage1.block": "attention"}).eval()
    other = theirs.build(theirs.largest()).eval()
    same_weights(ours, other)
    x = torch.randn(2, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(x), other(x))


def test_layers_follow_one_another_and_add_up() -> None:
    """At odd sizes: the layers say the shapes that their modules give, and their sums are the whole's."""
    plain = {"kernel": 3, "expansion": 2, "gate": ["none", "se"]}
    space = small("residual", "mbconv", "convnext", "attention", mbconv=plain)
    rows = space.sample(12, np.random.default_rng(0))
    macs = space.sum_over_layers(rows, space.layer_macs)
    for row, expected in zip(rows, macs, strict=True):
        arch = space.to_arch(row)
        layers = space.lower(arch)
        for before, after in itertools.pairwise(layers):
            assert before.output_shape == after.input_shape
        x = torch.zeros(1, 3, 9, 7)
        for layer, module in zip(layers, space.build(arch).eval(), strict=True):
            x = module(x)
            assert tuple(x.shape[1:]) == layer.output_shape, layer.key
        assert count_macs(space.build(arch), (3, 9, 7)) == expected


def test_choices_with_one_value_are_no_choices() -> None:
    space = small("residual", "mbconv", mbconv={"kernel": 5, "gate": "se", "expansion": [2, 4]})
    own = [name for name in space.names if "mbconv" in name or "residual" in name]
    assert own == [
        f"stage{stage}.{name}" for stage in (0, 1) for name in ("residual.gate", "mbconv.expansion")
    ]
    (choice,) = [one for one in space.choices if one.name == "stage1.mbconv.expansion"]
    assert (choice.parent, choice.parent_values, choice.values) == ("stage1.block", ("mbconv",), (2, 4))
    keys = [layer.key for layer in space.layers if layer.kind == "mbconv"]
    assert all("gate=se" in key and "kernel=5" in key for key in keys)


def test_subnets_share_weights_and_equal_what_is_extracted() -> None:
    space = small("residual", "mbconv", mbconv={"kernel": 3, "expansion": 2})
    supernet = Supernet(space, seed=0)
    x = torch.randn(2, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    for row in space.sample(6, np.random.default_rng(0)):
        arch = space.to_arch(row)
        subnet, alone = supernet.subnet(arch).eval(), supernet.extract(arch).eval()
        assert torch.equal(subnet(x), alone(x))
    narrow = supernet.subnet(space.smallest())
    assert any("shortcut.conv" in name or "project.conv" in name for name, _ in narrow.named_parameters()), (
        "no changed width here"
    )


def test_the_family_obeys_the_prefix_rule() -> None:
    space = small("residual", "mbconv", mbconv={"kernel": 3, "expansion": 2})
    assert check_prefix_rule(space, networks=2) > 2


@pytest.mark.parametrize("name", CONVNETS)
def test_presets_have_the_ends_and_sizes_that_they_are_made_for(name: str) -> None:
    side = int(name.partition("-")[2])
    space = preset(name, classes=10, input_shape=(3, side, side))
    assert len(space.layers) < 450  # each is measured
    for arch in (space.to_arch(row) for row in space.sample(3, np.random.default_rng(0))):
        assert space.build(arch).eval()(torch.zeros(1, 3, side, side)).shape == (1, 10)


def test_options_blocks_and_what_is_left_out_reach_the_stages() -> None:
    whole = preset("fast-8", classes=10, input_shape=(1, 8, 8))
    assert "mbconv" in {layer.kind for layer in whole.layers}
    fewer = preset("fast-8", classes=10, input_shape=(1, 8, 8), without=["mbconv", "attention"])
    assert "mbconv" not in {layer.kind for layer in fewer.layers}
    wider = preset("fast-8", classes=10, input_shape=(1, 8, 8), options={"mbconv": {"gate": ["none", "se"]}})
    assert "stage0.mbconv.gate" in wider.names
    options = {"mbconv": {"gate": "eca"}}
    other = preset("fast-8", classes=10, input_shape=(1, 8, 8), blocks=["mbconv", "grouped"], options=options)
    assert {layer.kind for layer in other.layers} == {"entry", "mbconv", "grouped", "head"}
    assert all("gate=eca" in layer.key for layer in other.layers if layer.kind == "mbconv")


class Own(nn.Sequential):
    """A block of a user's: a dense convolution."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, reach: int) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, reach, stride, reach // 2))


class Scaled(nn.Module):
    """A mixer of a user's."""

    def __init__(self, channels: int, *, by: float = 2.0) -> None:  # noqa: ARG002
        super().__init__()
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        return self.by * x


def test_blocks_and_mixers_that_only_this_process_knows_are_built_in_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ray workers import no recipe's parts: the space brings its blocks along, with their settings."""
    cloudpickle = pytest.importorskip("cloudpickle")
    monkeypatch.setattr(BLOCKS, "_entries", dict(BLOCKS._entries))
    monkeypatch.setattr(MIXERS, "_entries", dict(MIXERS._entries))
    register_block(Block(name="own", make=Own, choices=(Choice("reach", (1, 3), role="kernel"),)))
    register_mixer(Mixer(name="scaled", make=Scaled))
    sent = cloudpickle.dumps(small("own", "scaled", scaled={"by": 3, "ratio": 1}))
    del BLOCKS._entries["own"], MIXERS._entries["scaled"]
    space = pickle.loads(sent)
    parts = [
        part
        for row in space.sample(20, np.random.default_rng(0))
        for part in space.build(space.to_arch(row)).modules()
    ]
    assert {part.by for part in parts if isinstance(part, Scaled)} == {3.0}
    assert {part[0].kernel_size for part in parts if isinstance(part, Own)} == {(1, 1), (3, 3)}


def test_bad_spaces_are_refused_in_words() -> None:
    shape = (3, 32, 32)
    groups = {"grouped": {"group_width": [8, 16]}}
    with pytest.raises(ValueError, match="unknown block 'mbcon'. Did you mean 'mbconv'"):
        preset("fast-32", classes=10, input_shape=shape, blocks=["mbcon"])
    with pytest.raises(ValueError, match=r"unknown space 'fast-23'. Did you mean 'fast-32'"):
        preset("fast-23", classes=10, input_shape=shape)
    with pytest.raises(
        ValueError, match="mixers: preset 'fast-32' chooses among blocks; give them as blocks"
    ):
        preset("fast-32", classes=10, input_shape=shape, mixers=["attention"])
    with pytest.raises(ValueError, match="blocks: preset 'cifar' chooses among mixers"):
        preset("cifar", classes=10, input_shape=shape, blocks=["residual"])
    with pytest.raises(
        ValueError, match=r"mbconv.expansio: 'mbconv' has no setting 'expansio'. Did you mean"
    ):
        preset("fast-32", classes=10, input_shape=shape, options={"mbconv": {"expansio": 3}})
    with pytest.raises(ValueError, match="unknown block 'grouped'.*exists, but this space does not have it"):
        preset("fast-32", classes=10, input_shape=shape, options={"grouped": {"group_width": 8}})
    with pytest.raises(ValueError, match=r"mbconv.kernel = \[4\]: the size of a kernel has to be odd"):
        preset("fast-32", classes=10, input_shape=shape, options={"mbconv": {"kernel": [4]}})
    with pytest.raises(ValueError, match=r"nothing left at stage 2 where the stem has a stride of 2"):
        preset("fast-32", classes=10, input_shape=(3, 3, 3))
    with pytest.raises(
        ValueError, match=r"block 'grouped' needs widths that are multiples of 16, got \[24\]"
    ):
        ConvStage(widths=(24, 32), depths=(1,), blocks=("grouped",), options=groups)
    with pytest.raises(
        ValueError, match=r"block 'attention' needs widths that are multiples of 16, got \[8\]"
    ):
        ConvStage(widths=(8,), depths=(1,), blocks=("attention",))
    with pytest.raises(ValueError, match="widths must be 1 or more, ascending"):
        ConvStage(widths=(32, 16), depths=(1,), blocks=("residual",))
    with pytest.raises(ValueError, match="without residual no block is left"):
        preset("fast-32", classes=10, input_shape=shape, blocks=["residual"], without=["residual"])
    with pytest.raises(ValueError, match="unknown activation 'rel'"):
        preset("fast-32", classes=10, input_shape=shape, activation="rel")
