"""Archs that choose number formats have the networks of those that do not, each part marked with its own."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from nas.costs.layers.sums import SlotSums
from results.precision import int8_parts
from search_spaces.choice import Choice
from search_spaces.rules import rule_of
from search_spaces.space import SearchSpace
from search_spaces.spaces.convnet import ConvNet, ConvStage, convnet
from search_spaces.spaces.narrowed import ruled
from search_spaces.spaces.precisions import with_precisions
from search_spaces.spaces.presets import preset
from search_spaces.spaces.stitched import Anchor, stitched

PLAIN = preset("digits", classes=10, input_shape=(1, 8, 8), mixers=("pooling", "depthwise"))
PER = ("stage", "block")
SPACES = {per: with_precisions(PLAIN, per) for per in PER}
ENDING = convnet(
    "ending",
    ConvNet(
        stages=tuple(
            ConvStage(widths=(16, 32), depths=(1, 2), blocks=blocks, options={"residual": {"gate": "none"}})
            for blocks in (("residual",), ("residual", "reversible"), ("residual",))
        ),
        stem_strides=(1,),
        exits=(1, 2),
    ),
    classes=3,
    input_shape=(3, 16, 16),
)


def part_of(layer: str, per: str) -> str:
    """The part that a layer's name says: ``stage0_block1_mlp`` lies in ``stage0.block1``."""
    return ".".join(layer.split("_")[: 1 if per == "stage" else 2])


@pytest.mark.parametrize("per", PER)
def test_networks_are_the_same_and_each_part_is_marked_with_its_choice(per):
    space = SPACES[per]
    for row in space.sample(20, np.random.default_rng(0)):
        arch = space.to_arch(row)
        plain = {name: value for name, value in arch.items() if name in PLAIN.column}
        network = space.build(arch)
        assert [(n, p.shape) for n, p in network.named_parameters()] == [
            (n, p.shape) for n, p in PLAIN.build(plain).named_parameters()
        ]
        wanted = [
            one.name for one in PLAIN.lower(plain) if arch[f"{part_of(one.name, per)}.precision"] == "int8"
        ]
        assert list(int8_parts(network)) == wanted
    assert int8_parts(PLAIN.build(PLAIN.largest())) is None


@pytest.mark.parametrize("per", PER)
@pytest.mark.parametrize("plain", [PLAIN, ENDING], ids=lambda space: space.name)
def test_a_choice_is_active_where_its_part_has_layers(per, plain):
    space = with_precisions(plain, per)
    rows = space.sample(100, np.random.default_rng(1))
    for row, active in zip(rows, space.active(rows), strict=True):
        there = {part_of(layer.name, per) for layer in space.lower(space.to_arch(row))}
        chosen = {name for name, one in zip(space.names, active, strict=True) if one}
        assert {name.removesuffix(".precision") for name in chosen if name.endswith("precision")} == there


def test_the_largest_network_is_float_and_the_layers_of_either_format_are_measured():
    for space in SPACES.values():
        largest = space.largest()
        assert {largest[name] for name in PLAIN.names} == {PLAIN.largest()[name] for name in PLAIN.names}
        assert int8_parts(space.build(largest)) == ()
        keys = [layer.key for layer in space.layers]
        assert sorted(keys) == sorted(
            f"{one.key} in {form}" for one in PLAIN.layers for form in ("int8", "fp32")
        )
    declared = SearchSpace(
        "declared", PLAIN.choices, slots=PLAIN.slots, input_shape=(1, 8, 8), reference=PLAIN.smallest()
    )
    reference = with_precisions(declared, "stage").largest()
    assert reference == {
        **PLAIN.smallest(),
        **{f"{part}.precision": "fp32" for part in ("stage0", "stage1", "head")},
    }


def test_rules_hold_for_formats():
    space = ruled(SPACES["stage"], [rule_of({"forbid": {"head.precision": "int8"}})])
    rows = space.sample(50, np.random.default_rng(2))
    assert {space.to_arch(row)["head.precision"] for row in rows} == {"fp32"}


def test_what_has_no_parts_to_choose_for_is_refused():
    own = SearchSpace("own", [Choice("width", (1, 2))], build=lambda arch: nn.Identity())
    for space, per, words in (
        (own, "stage", "only builds its networks"),
        (PLAIN, "layer", "'layer'.*stage"),
        (SPACES["stage"], "stage", "has the choice 'stage0.precision' already"),
    ):
        with pytest.raises(ValueError, match=words):
            with_precisions(space, per)


@pytest.mark.parametrize("per", PER)
def test_borders_are_where_neighbours_differ(per):
    space = SPACES[per]
    rows = space.sample(60, np.random.default_rng(3))
    expected = []
    for row in rows:
        layers = space.lower(space.to_arch(row))
        chain = ["fp32", *(layer.precision for layer in layers), "fp32"]
        tensors = [*(layer.input_shape for layer in layers), layers[-1].output_shape]
        pairs = zip(itertools.pairwise(chain), tensors, strict=True)
        met = [int(np.prod(shape)) for (a, b), shape in pairs if a != b]
        expected.append((len(met), sum(met)))
    np.testing.assert_array_equal(SlotSums(space).borders(rows), expected)
    np.testing.assert_array_equal(SlotSums(PLAIN).borders(PLAIN.sample(3, np.random.default_rng(0))), 0)


def test_a_part_of_a_stitched_space_chooses_where_its_anchor_runs():
    archs = PLAIN.smallest(), PLAIN.largest()
    anchors = [Anchor(arch=arch, network=PLAIN.build(arch).eval()) for arch in archs]
    space = with_precisions(stitched(PLAIN, anchors, torch.randn(4, 1, 8, 8)), "stage")
    there = space.to_arch(space.to_row({"anchor": 1, "anchor1.precision": "int8"}))
    assert [
        name for name, one in zip(space.names, space.active(space.to_row(there)[None])[0], strict=True) if one
    ] == [
        "anchor",
        "anchor1.precision",
    ]
