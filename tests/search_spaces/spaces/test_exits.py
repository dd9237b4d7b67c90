"""Networks that end early: what is cut away, what is shared, what is trained, and what is refused."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from compress.onnx.export import onnx_bytes
from nas.costs.counts.analytic import AnalyticCosts
from nas.rules.exits import exits
from nas.rules.moment import Moment
from nas.supernet.prefix import check_prefix_rule
from nas.supernet.supernet import Supernet
from search_spaces.rules import Forbid
from search_spaces.space import SearchSpace
from search_spaces.spaces.convnet import ConvNet, ConvStage, convnet
from search_spaces.spaces.exits import ends_of
from search_spaces.spaces.metaformer import MetaFormer, Stage, metaformer
from search_spaces.spaces.narrowed import ruled
from search_spaces.spaces.presets import preset


def conv_space(places: tuple[int, ...] = (1, 2)) -> SearchSpace:
    options = {"mbconv": {"gate": "none", "kernel": (3, 5), "expansion": 2}}
    stages = tuple(
        ConvStage(
            widths=(width, 2 * width),
            depths=(1, 2),
            blocks=("residual", "mbconv"),
            stride=stride,
            options=options,
        )
        for width, stride in ((4, 1), (8, 2), (8, 2))
    )
    net = ConvNet(stages=stages, exits=places, last_width=8, hidden_width=6)
    return convnet("ending", net, classes=3, input_shape=(2, 9, 7))


def former_space(places: tuple[int, ...] = (1, 2)) -> SearchSpace:
    stages = tuple(
        Stage(
            widths=(16, 32),
            depths=(1, 2),
            mixers=("identity", "depthwise"),
            ratios=(1, 2),
            resolution_step=step,
        )
        for step in (1, (1, 2), 2)
    )
    net = MetaFormer(stages=stages, resolutions=(6, 8), exits=places)
    return metaformer("ending", net, classes=3, input_shape=(1, 8, 8))


SPACES = {"convolutional": conv_space, "metaformer": former_space}


@pytest.fixture(params=SPACES)
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return SPACES[request.param]()


def images(space: SearchSpace) -> Tensor:
    return torch.randn(2, *space.input_shape({}), generator=torch.Generator().manual_seed(0))


def test_an_exit_is_the_beginning_of_the_whole_network_with_a_head_of_its_own(space: SearchSpace) -> None:
    supernet = Supernet(space)
    whole = supernet.extract(space.largest()).eval()
    layers = dict(whole.named_children())
    for place in (1, 2):
        cut = dict(supernet.extract({**space.largest(), "exit": place}).eval().named_children())
        assert list(cut)[-1] == f"exit{place}"
        assert "head" not in cut
        assert list(cut)[:-1] == list(layers)[: len(cut) - 1]
        assert not any(name.startswith(f"stage{place}") for name in cut)
        x = y = images(space)
        for name, layer in cut.items():
            x, y = layer(x), (layers.get(name) or layer)(y)
        assert x.shape == (2, 3)
        assert torch.equal(x, y)


def test_what_comes_after_the_exit_decides_nothing(space: SearchSpace) -> None:
    rows = space.sample(200, np.random.default_rng(0))
    column, ends = space.column["exit"], np.array(space.choices[space.column["exit"]].values)
    for at, choice in enumerate(space.choices):
        place = choice.name.partition(".")[0]
        if place.startswith("stage"):
            gone = ends[rows[:, column]] <= int(place[5:])
            assert gone.any() or place == "stage0"
            assert not rows[gone, at].any()
    whole = SPACES["convolutional" if "stem.stride" in space.column else "metaformer"](())
    # Networks with one and two stages, and all of the whole: exits add, and multiply nothing.
    assert whole.size < space.size < 1.2 * whole.size


def test_costs_and_the_prefix_rule_hold(space: SearchSpace) -> None:
    check_prefix_rule(space)
    costs, largest = AnalyticCosts(space), space.to_row(space.largest())
    macs = costs.macs(ends_of(space, largest))
    assert len(macs) == 3
    assert (np.diff(macs) < 0).all()
    assert (space.smallest()["exit"], space.largest()["exit"]) == (1, 3)


def test_a_file_of_an_exit_computes_the_exit() -> None:
    space = conv_space()
    network = Supernet(space).extract({**space.largest(), "exit": 2}).eval()
    session = onnxruntime.InferenceSession(
        onnx_bytes(network, space.input_shape({})), providers=["CPUExecutionProvider"]
    )
    x = images(space)[:1]
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(found, network(x).detach().numpy(), rtol=1e-3, atol=1e-4)
    assert not any(name.startswith("stage2") for name, _ in network.named_modules())


def test_all_ends_of_a_network_are_trained_in_one_step() -> None:
    space = conv_space()
    early = exits(
        Moment(space=space, rng=np.random.default_rng(3), progress=0.1), random_subnets=2, labels=0.5
    )
    late = exits(
        Moment(space=space, rng=np.random.default_rng(3), progress=0.5), random_subnets=2, labels=0.5
    )
    assert [one.arch for one in early] == [one.arch for one in late]
    assert all(one.teacher is None for one in early)
    assert sum(one.weight for one in late) == pytest.approx(1)
    whole = [at for at, one in enumerate(late) if one.teacher is None]
    assert len(whole) == 3
    assert late[0].arch == space.largest()
    for first, after in zip(whole, [*whole[1:], len(late)], strict=True):
        ends = [one.arch["exit"] for one in late[first:after]]
        assert ends == list(range(int(late[first].arch["exit"]), 0, -1))
        assert all(one.teacher == first for one in late[first + 1 : after])
        for one in late[first:after]:  # the same network up to there
            assert one.arch == space.to_arch(space.to_row({**late[first].arch, "exit": one.arch["exit"]}))


def test_ends_keep_the_rules_of_the_space() -> None:
    space = ruled(conv_space(), [Forbid(values={"exit": 1, "stage0.width": 8})])
    wide = space.to_row(space.largest())
    assert [space.to_arch(row)["exit"] for row in ends_of(space, wide)] == [3, 2]
    plain = conv_space(())
    row = plain.to_row(plain.largest())
    assert np.array_equal(ends_of(plain, row), row[None])


@pytest.mark.parametrize("places", [(3,), (0, 1), (2, 1), (1, 1), (-1,)])
@pytest.mark.parametrize("make", SPACES.values())
def test_places_where_nothing_can_end_are_refused(make: type, places: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="from 1 to 2, as there are 3 stages and the last always ends it"):
        make(places)


def test_a_space_of_one_stage_has_its_depth_instead() -> None:
    with pytest.raises(ValueError, match="one stage, whose depth says where"):
        preset("vit", classes=10, input_shape=(3, 32, 32), exits=(1,))


def test_presets_of_several_stages_take_them() -> None:
    for name in ("cifar-small", "fast-32"):
        space = preset(name, classes=10, input_shape=(3, 32, 32), exits=(2,))
        assert space.choices[0].values == (2, 3)
        assert preset(name, classes=10, input_shape=(3, 32, 32)).size < space.size
