"""Attention in stripes does what the paper says; a mixer with a choice of its own is one file."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from compress.onnx.export import onnx_bytes
from compress.pruning.prune import prune
from nas.supernet.supernet import Supernet
from search_spaces.mixers.attention.region import RegionHeads
from search_spaces.mixers.cswin import CrossStripe, fitting
from search_spaces.space import SearchSpace
from search_spaces.spaces.metaformer import Stage, metaformer
from search_spaces.spaces.presets import preset
from tests.compress.networks import EXAMPLE, randomise_norms

OPTIONS = {"cswin": {"stripe": [1, 2], "head_channels": 8}}


def space_of(**more: object) -> SearchSpace:
    mixers = ["identity", "cswin", "depthwise"]
    return preset("digits", classes=10, input_shape=(1, 8, 8), mixers=mixers, **more)  # type: ignore[arg-type]


def network_of(**changes: object) -> nn.Module:
    """A network with wide stripes on a map of 8x8, and one whose map, 4x4, is as high as its stripe."""
    space = space_of()
    arch = {**space.smallest(), "stage0.width": 48, "stage1.width": 64}
    arch |= {"stage0.block0.mixer": "cswin", "stage1.block0.mixer": "cswin"}
    arch |= {"stage0.block0.stripe": 2, "stage1.block0.stripe": 4} | changes
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return randomise_norms(space.build(arch)).eval()


def masked(module: RegionHeads, x: Tensor, stripe: int) -> Tensor:
    """The same by attention over the whole map, of which positions in other stripes are masked out."""
    batch, _, height, width = x.shape
    rows = torch.arange(height).repeat_interleave(width) // stripe
    q, k, v = (
        part(x).reshape(batch, -1, module.head_channels, height * width).transpose(2, 3)
        for part in (module.q, module.k, module.v)
    )
    mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=rows[:, None] == rows)
    return module.project(mixed.transpose(2, 3).reshape(batch, -1, height, width))


@pytest.mark.parametrize(("stripe", "height", "width"), [(1, 4, 6), (2, 8, 6), (3, 9, 6)])
def test_heads_attend_inside_their_stripes_and_nowhere_else(stripe: int, height: int, width: int) -> None:
    module = CrossStripe(48, stripe=stripe).eval()
    randomise_norms(module)
    x = torch.randn(2, 48, height, width, generator=torch.Generator().manual_seed(0))
    turned = masked(module.columns, x.transpose(2, 3), fitting(width, stripe)).transpose(2, 3)
    torch.testing.assert_close(module(x), masked(module.rows, x, stripe) + turned, atol=1e-5, rtol=1e-5)


def test_heads_are_split_between_rows_and_columns() -> None:
    for channels, rows, columns in ((16, 16, None), (32, 16, 16), (48, 32, 16)):
        module = CrossStripe(channels, stripe=1)
        assert module.rows.q.conv.out_channels == rows
        assert (
            module.columns.q.conv.out_channels if columns else getattr(module, "columns", None)
        ) == columns


def test_a_stripe_that_does_not_fit_the_map_gives_way_to_the_largest_that_does() -> None:
    assert [fitting(7, 2), fitting(8, 3), fitting(4, 64), fitting(9, 4), fitting(1, 2)] == [1, 2, 4, 3, 1]
    wide, whole = CrossStripe(32, stripe=64).eval(), CrossStripe(32, stripe=4).eval()
    whole.load_state_dict(wide.state_dict())
    x = torch.randn(1, 32, 4, 4)
    assert torch.equal(wide(x), whole(x))


def test_its_choice_is_searched_where_a_block_has_it() -> None:
    space = space_of(options=OPTIONS)
    (choice,) = [one for one in space.choices if one.name == "stage0.block0.stripe"]
    assert (choice.values, choice.role) == ((1, 2), "kernel")
    assert (choice.parent, choice.parent_values) == ("stage0.block0.mixer", ("cswin",))
    rows = space.sample(200, np.random.default_rng(0))
    stripes = rows[:, space.column["stage0.block0.stripe"]]
    has = rows[:, space.column["stage0.block0.mixer"]] == 1
    assert set(stripes[has]) == {0, 1}
    assert set(stripes[~has]) == {0}
    assert {layer.key for layer in space.layers if "stripe=2" in layer.key}


def test_stripes_that_cut_a_map_alike_make_one_layer() -> None:
    """On maps of 6x4, stripes of 4 are 3 rows or 4 columns, and those of 5 and 6 differ in the rows alone."""
    stage = Stage(
        widths=(32,),
        depths=(1,),
        mixers=("cswin",),
        resolution_step=1,
        options={"cswin": {"stripe": [4, 5, 6, 8]}},
    )
    space = metaformer("wide", [stage], classes=2, input_shape=(1, 6, 4))
    layers = {
        stripe: next(
            one
            for one in space.lower({**space.smallest(), "stage0.block0.stripe": stripe})
            if one.kind == "cswin"
        )
        for stripe in (4, 5, 6, 8)
    }
    assert layers[4].key == layers[5].key
    assert layers[6].key == layers[8].key != layers[5].key
    assert [dict(one.sizes)["stripe"] for one in layers.values()] == [4, 4, 6, 6]
    assert sum(one.kind == "cswin" for one in space.layers) == 2


def test_its_options_reach_the_network() -> None:
    space = space_of(options=OPTIONS)
    arch = {**space.smallest(), "stage0.block0.mixer": "cswin", "stage0.block0.stripe": 2}
    for network in (space.build(arch), Supernet(space).subnet(arch)):
        (mixer,) = [part for part in network.modules() if isinstance(part, CrossStripe)]
        assert mixer.rows.head_channels == 8
        assert mixer.stripe == 2


def test_widths_follow_the_size_of_a_head_that_was_given() -> None:
    assert Stage(widths=(8, 24), depths=(1,), mixers=("cswin",), options=OPTIONS)
    with pytest.raises(
        ValueError, match=r"mixer 'cswin' needs widths that are multiples of 16, got \[8, 24\]"
    ):
        Stage(widths=(8, 24), depths=(1,), mixers=("cswin",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cswn": {}}, "cswn: unknown mixer 'cswn'. Did you mean 'cswin'"),
        ({"attention": {}}, "exists, but this space does not have it"),
        ({"cswin": {"strip": 2}}, "cswin.strip: 'cswin' has no setting 'strip'. Did you mean 'stripe'"),
        ({"cswin": {"stripe": [2, 1]}}, r"cswin.stripe = \[2, 1\]: values have to ascend"),
        ({"cswin": {"stripe": [0]}}, "cswin.stripe = .*greater than or equal to 1"),
        ({"cswin": {"stripe": []}}, "one value or more"),
        ({"cswin": {"head_channels": "wide"}}, "cswin.head_channels = 'wide': .*integer"),
        ({"cswin": 3}, "give its options by name"),
    ],
)
def test_bad_options_are_refused_in_words(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        space_of(options=options)


def test_its_file_computes_what_it_computes_at_any_batch() -> None:
    network = network_of()
    session = onnxruntime.InferenceSession(onnx_bytes(network, (1, 8, 8)), providers=["CPUExecutionProvider"])
    for batch in (1, 4):
        images = torch.rand(batch, 1, 8, 8)
        (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        np.testing.assert_allclose(found, network(images).detach().numpy(), atol=1e-4, rtol=1e-4)


def test_its_heads_are_pruned_whole_and_what_is_not_is_named() -> None:
    """Where a half has one head, there is nothing to prune in it; it is left alone by name."""
    pruned = prune(network_of(), EXAMPLE, keep=0.5)
    cut = {one.root: one for one in pruned.cuts if "cswin" in one.root}
    assert {name.rpartition(".inner.")[0] for name in cut} == {"stage0_block0_cswin", "stage1_block0_cswin"}
    for one in cut.values():
        assert (one.channels, len(one.kept), one.kept[0] % 16) == (32, 16, 0)
    refused = [one.root for one in pruned.refused if "cswin" in one.root]
    assert refused
    assert all(name.startswith("stage0_block0_cswin.inner.columns") for name in refused)
    assert pruned.network(EXAMPLE).shape == (1, 10)
