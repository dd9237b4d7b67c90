"""Channel mixers, norms, residual forms, entries and recursions as choices of a space."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from compress.onnx.fuse import fuse
from nas.supernet.calibration import recalibrate
from nas.supernet.supernet import Supernet
from search_spaces.blocks.recursive import Recursive
from search_spaces.slot_table import slot_table
from search_spaces.space import SearchSpace
from search_spaces.spaces.convnet import ConvNet, ConvStage, convnet
from search_spaces.spaces.metaformer import MetaFormer, Stage, metaformer
from search_spaces.spaces.presets import PRESETS, preset

ALL = {
    "channel_mixers": ("mlp", "glu", "conv_mlp"),
    "norms": ("batch", "dyt", "layer"),
    "residuals": ("sum", "scaled", "rezero"),
    "entries": ("strided", "patch", "overlapping"),
}


def space_with(**parts: object) -> SearchSpace:
    more = {"mixers": ("identity", "depthwise"), "depths": (1, 2), **parts}
    both = ((8, 16), (16, 24))
    stages = [Stage(**{"widths": widths, **more}) for widths in both]  # type: ignore[arg-type]
    return metaformer("parts", stages, classes=3, input_shape=(3, 8, 8))


def recursive(recursions: tuple[int, ...] = (1, 2, 3), **more: object) -> SearchSpace:
    stage = ConvStage(
        widths=(8, 16),
        depths=(1, 2),
        blocks=("residual", "depthwise"),
        recursions=recursions,
        **more,  # type: ignore[arg-type]
    )
    return convnet("again", ConvNet(stages=(stage,), stem_strides=(1,)), classes=3, input_shape=(3, 8, 8))


def test_what_is_named_once_is_no_choice_and_stands_in_every_block() -> None:
    one = {key: names[1:2] for key, names in ALL.items()}
    space = space_with(**one, options={"scaled": {"scale": 0.2}})
    assert set(space.names) >= set(space_with().names)
    own = {name.partition(".")[2] for name in set(space.names) - set(space_with().names)}
    assert own == {f"block{at}.{name}" for at in (0, 1) for name in ("glu.kernel", "scaled.scale")}
    kinds = [layer.kind for layer in space.lower(space.largest())]
    assert kinds == [*["patch", *["depthwise", "glu"] * 2] * 2, "head"]
    for layer in space.layers:
        if layer.kind in ("depthwise", "glu"):
            sizes = dict(layer.sizes)
            assert sizes["branch.norm"] == "dyt"
            assert (sizes["branch.residual"], sizes["branch.scale"]) == ("scaled", 0.2)


def test_what_is_named_several_times_is_chosen_by_block_or_stage() -> None:
    space = space_with(**ALL)
    found = {one.name: one for one in space.choices}
    for name, key in (("channel_mixer", "channel_mixers"), ("norm", "norms"), ("residual", "residuals")):
        assert found[f"stage1.block1.{name}"].values == ALL[key]
        assert found[f"stage1.block1.{name}"].parent_values == (2,)  # deep enough
    assert found["stage0.entry"].values == ALL["entries"]
    for name, parent, value in (
        ("stage0.block0.glu.kernel", "stage0.block0.channel_mixer", "glu"),
        ("stage0.block0.conv_mlp.gate", "stage0.block0.channel_mixer", "conv_mlp"),
        ("stage0.block1.scaled.scale", "stage0.block1.residual", "scaled"),
        ("stage0.overlapping.kernel", "stage0.entry", "overlapping"),
    ):
        assert (found[name].parent, found[name].parent_values) == (parent, (value,))
    arch = {**space.smallest(), "stage0.entry": "overlapping", "stage0.overlapping.kernel": 5}
    arch |= {"stage0.block0.channel_mixer": "glu", "stage0.block0.glu.kernel": 3}
    network = space.build(arch)
    assert network.get_submodule("stage0_entry_overlapping.conv").kernel_size == (5, 5)
    assert network.get_submodule("stage0_block0_glu.inner.depthwise.conv").kernel_size == (3, 3)


def test_subnets_are_the_networks_that_are_extracted() -> None:
    """A narrower network is the slice of a wider one whatever its norms look at: it is a network."""
    space = space_with(**ALL)
    supernet = Supernet(space)
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for row in space.sample(12, np.random.default_rng(0)):
        arch = space.to_arch(row)
        subnet, alone = supernet.subnet(arch).eval(), space.build(arch).eval()
        alone.load_state_dict(supernet.extract(arch).state_dict())
        with torch.no_grad():
            assert torch.equal(subnet(x), alone(x))


def test_residual_forms_share_weights_and_norms_do_not() -> None:
    names = Supernet(space_with(**ALL)).index.keys()
    conv = [name for name in names if name.startswith("stage0_block0_depthwise") and "conv.weight" in name]
    assert sorted(conv) == [
        "stage0_block0_depthwise.inner.conv.weight",
        "stage0_block0_depthwise_dyt.inner.part.conv.weight",
        "stage0_block0_depthwise_layer.inner.part.conv.weight",
    ]
    assert "stage0_block0_depthwise.alpha" in names  # of ReZero


@pytest.mark.parametrize("norm", ["dyt", "layer"])
def test_a_norm_before_a_part_takes_the_place_of_those_in_it(norm: str) -> None:
    space = space_with(norms=(norm,), mixers=("attention", "depthwise"), widths=(16, 32))
    branches = [module for name, module in space.build(space.largest()).named_children() if "block" in name]
    assert branches
    for branch in branches:
        modules = list(branch.modules())
        assert not any(isinstance(one, _BatchNorm) for one in modules)
        assert all(one.bias is not None for one in modules if isinstance(one, nn.Conv2d))


def test_mixers_with_choices_of_their_own_do_not_multiply_each_others_tables() -> None:
    space = space_with(mixers=("identity", "pooling", "cswin", "depthwise"), widths=(16, 32))
    slots = {slot.name: slot for slot in space.slots}
    tables = {name: slot_table(slots[f"stage0.block0.mixer{name}"], space.choices) for name in ("", ".cswin")}
    together = {layer.kind for layer in tables[""].layers if layer}
    assert together == {"pooling", "depthwise"}
    assert {layer.kind for layer in tables[".cswin"].layers if layer} == {"cswin"}
    assert [len(table.layers) for table in tables.values()] == [2 * 2 * 4 * 3] * 2
    more = space_with(mixers=("depthwise", "gnconv", "spatial_bottleneck"), widths=(16, 32))
    assert sum(slot.name.startswith("stage0.block0.mixer") for slot in more.slots) == 3
    archs = [space.to_arch(row) for row in space.sample(50, np.random.default_rng(0))]
    for arch in archs:
        kinds = [layer.kind for layer in space.lower(arch)]
        wanted = [arch[f"stage0.block{at}.mixer"] for at in range(int(arch["stage0.depth"]))]
        assert [kind for kind in kinds[1 : kinds.index("entry", 1)] if kind != "mlp"] == [
            name for name in wanted if name != "identity"
        ]


def test_presets_take_them_and_leave_out_what_a_device_cannot_run() -> None:
    options = {"glu": {"kernel": [3]}, "depthwise": {"kernel": [3]}}
    space = preset(
        "digits", classes=3, input_shape=(1, 8, 8), options=options, without=["layer", "patch"], **ALL
    )
    found = {one.name: one.values for one in space.choices}
    assert found["stage0.block0.norm"] == ("batch", "dyt")
    assert found["stage0.entry"] == ("strided", "overlapping")
    assert found["stage0.block0.glu.kernel"] == found["stage0.block0.kernel"] == (3,)
    with pytest.raises(
        ValueError, match=r"no norm is left in the space; name others, such as in space.norms"
    ):
        preset("digits", classes=3, input_shape=(1, 8, 8), norms=["layer"], without=["layer"])


def test_options_are_laid_over_those_of_the_stages_of_a_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"pooling": {"kernel": (3, 5)}, "cswin": {"stripe": 2}, "glu": {"kernel": (3, 5)}}
    own |= {"overlapping": {"kernel": (3, 5)}}
    stage = Stage(
        widths=(16, 32),
        depths=(1,),
        mixers=("pooling", "depthwise", "cswin"),
        channel_mixers=("glu",),
        entries=("overlapping",),
        options=own,
    )
    monkeypatch.setitem(PRESETS, "own", MetaFormer(stages=(stage,)))

    def found(**given: object) -> tuple[object, ...]:
        space = preset("own", classes=3, input_shape=(3, 8, 8), **given)  # type: ignore[arg-type]
        values = {one.name: one.values for one in space.choices}
        stripes = {dict(layer.sizes)["stripe"] for layer in space.layers if layer.kind == "cswin"}
        mixed, gated, entered = (
            "stage0.block0.kernel",
            "stage0.block0.glu.kernel",
            "stage0.overlapping.kernel",
        )
        return values[mixed], values[gated], values[entered], stripes

    assert found() == ((3, 5), (3, 5), (3, 5), {2})
    assert found(without=["pooling"]) == ((3, 5), (3, 5), (3, 5), {2})
    # What is given to one of the mixers that share a choice counts for all, over what any of them had.
    given = {"depthwise": {"kernel": (3,)}, "glu": {"kernel": (5,)}, "overlapping": {"kernel": (7,)}}
    assert found(options=given) == ((3,), (5,), (7,), {2})
    assert found(options={"cswin": {"stripe": 4}}) == ((3, 5), (3, 5), (3, 5), {4})


def test_entries_of_convolutional_stages_stand_before_blocks_that_keep_their_shape() -> None:
    names = ("strided", "spd")
    net = ConvNet(
        stages=(
            ConvStage(widths=(8,), depths=(1,), blocks=("residual",), stride=1, entries=names),
            ConvStage(widths=(8, 16), depths=(1,), blocks=("residual", "depthwise"), entries=names),
        ),
        stem_strides=(1,),
    )
    space = convnet("entries", net, classes=3, input_shape=(3, 8, 8))
    found = {one.name: one for one in space.choices}
    assert "stage0.entry" not in found  # none of its blocks needs one
    assert (found["stage1.entry"].parent, found["stage1.entry"].parent_values) == (
        "stage1.block",
        ("depthwise",),
    )
    arch = {**space.smallest(), "stage1.block": "depthwise", "stage1.entry": "spd", "stage1.spd.kernel": 3}
    layers = {layer.name: layer for layer in space.lower(arch)}
    entry = layers["stage1_entry_spd"]
    assert (entry.kind, entry.input_shape, entry.output_shape) == ("spd", (8, 8, 8), (8, 4, 4))
    assert space.build(arch)(torch.zeros(1, 3, 8, 8)).shape == (1, 3)


def test_a_block_that_runs_again_is_itself_applied_again() -> None:
    space = recursive()
    found = {one.name: one for one in space.choices}["stage0.recursion"]
    assert (found.values, found.role, found.parent, found.parent_values) == (
        (1, 2, 3),
        "depth",
        "stage0.depth",
        (2,),
    )
    arch = {**space.smallest(), "stage0.depth": 2, "stage0.block": "residual"}
    supernet = Supernet(space)
    for times in (1, 2, 3):
        network = supernet.subnet({**arch, "stage0.recursion": times}).eval()
        first, block = (network.get_submodule(f"stage0_block{at}_residual") for at in (0, 1))
        assert isinstance(block, Recursive)
        assert not isinstance(first, Recursive)
        x = torch.randn(2, 8, 4, 4)
        expected = x
        for _ in range(times):
            expected = block.inner(expected)
        assert torch.equal(block(x), expected)
    weights = {math.prod(entry.shape) for name, entry in supernet.index.items() if "block1_residual" in name}
    assert len(supernet.index) == len(Supernet(recursive((1,))).index)  # no weights of its own
    assert weights


def test_statistics_of_a_block_that_runs_again_are_averages_over_its_runs() -> None:
    space = recursive((3,))
    network = space.build({**space.largest(), "stage0.block": "residual"})
    block = network.get_submodule("stage0_block1_residual")
    norm = block.get_submodule("inner.inner.first.norm")
    seen: list[torch.Tensor] = []
    norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].mean(dim=(0, 2, 3))))
    images = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    recalibrate(network, images, batch_size=4)
    assert len(seen) == 6
    torch.testing.assert_close(norm.running_mean, torch.stack(seen).mean(dim=0))


def test_norms_of_a_block_that_runs_again_fold() -> None:
    space = recursive((2,))
    network = space.build({**space.largest(), "stage0.block": "residual"}).eval()
    folded = fuse(network)
    assert not any(isinstance(one, _BatchNorm) for one in folded.modules())
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(folded(x), network(x), atol=1e-5, rtol=1e-5)


def test_costs_of_all_of_them_are_looked_up() -> None:
    space = space_with(**ALL)
    rows = space.sample(1000, np.random.default_rng(0))
    costs = space.sum_over_layers(rows, np.arange(len(space.layers), dtype=float))
    for row, cost in itertools.islice(zip(rows, costs, strict=True), 20):
        keys = [layer.key for layer in space.lower(space.to_arch(row))]
        known = [layer.key for layer in space.layers]
        assert cost == sum(known.index(key) for key in keys)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"channel_mixers": ("gluu",)}, "unknown channel mixer 'gluu'. Did you mean 'glu'"),
        ({"norms": ("dit",)}, "unknown norm 'dit'. Did you mean 'dyt'"),
        ({"norms": ()}, "needs one norm or more"),
        ({"residuals": ("scale",)}, "unknown residual form 'scale'. Did you mean 'scaled'"),
        ({"entries": ("pach",)}, "unknown entry 'pach'. Did you mean 'patch'"),
        ({"entries": ()}, "needs one entry or more"),
        ({"entries": ("patch", "patch")}, "'patch' stands twice in a stage"),
        ({"channel_mixers": ("glu",), "options": {"glu": {"kernel": [2]}}}, "kernel has to be odd"),
        ({"channel_mixers": ("glu",), "options": {"glu": {"kernl": 3}}}, "no setting 'kernl'"),
        ({"channel_mixers": ("sparse_mlp",)}, r"multiples of 16, got \[8\]"),
    ],
)
def test_bad_parts_are_refused_in_words(parts: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        space_with(**parts)


def test_bad_recursions_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="recursions must be 1 or more, ascending"):
        recursive((2, 1))
    with pytest.raises(ValueError, match="of every block but the first"):
        ConvStage(widths=(8,), depths=(1,), blocks=("residual",), recursions=(1, 2))
