"""Blocks learn the teacher's, errors add up, and the exact solution is the best arch by them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.blockwise import Teacher, assemble, errors, learn, loss_terms
from nas.blockwise.spans import spans
from nas.search.exact import Bound, solve
from search_spaces.choice import Choice, Value
from search_spaces.layer import Layer, Slot
from search_spaces.space import SearchSpace
from search_spaces.spaces.metaformer import Stage, metaformer
from search_spaces.spaces.presets import preset
from tests.spaces import resnet_space

KERNELS = {"depthwise": {"kernel": (3, 5)}}
MIXERS = ("identity", "pooling", "depthwise")
SPACE = metaformer(
    "tiny",
    [Stage(widths=(8, 16), depths=(1, 2), ratios=(1, 2), mixers=MIXERS, options=KERNELS, resolution_step=1)],
    classes=4,
    input_shape=(3, 6, 6),
)


def arch(**changes: Value) -> dict[str, Value]:
    """The teacher's arch: two blocks of width 16, a 3x3 depthwise convolution and a pooling."""
    own: dict[str, Value] = {"width": 16, "depth": 2, "block0.mixer": "depthwise", "block0.kernel": 3}
    own |= {"block0.ratio": 1, "block1.mixer": "pooling", "block1.kernel": 3, "block1.ratio": 2}
    own |= {key.replace("_", "."): value for key, value in changes.items()}
    return {f"stage0.{key}": value for key, value in own.items()}


def images(n: int, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(32, 3, 6, 6, generator=generator) for _ in range(n)]


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    """Random weights and statistics: a function as good as any to imitate."""
    torch.manual_seed(0)
    network = SPACE.build(arch())
    for _ in range(20):
        network(images(1, seed=9)[0])
    return Teacher(space=SPACE, arch=arch(), network=network)


@pytest.fixture(scope="module")
def students(teacher: Teacher) -> dict[str, dict[int, nn.Sequential]]:
    return learn(teacher, images(100, seed=1), steps=100, lr=2e-2)


def by_kind(teacher: Teacher, found: Mapping[str, np.ndarray], name: str) -> dict[str, float]:
    """The errors of a span by the keys of its alternatives."""
    lesson = next(one for one in teacher.lessons if one.name == name)
    kinds = [" ".join(layer.key for layer in one) or "nothing" for one in lesson.span.alternatives]
    return dict(zip(kinds, found[name].tolist(), strict=True))


def find(told: Mapping[str, float], kind: str, **sizes: object) -> float:
    wanted = [f"{name}={value}" for name, value in sizes.items()]
    return next(
        value for key, value in told.items() if key.startswith(kind) and all(w in key for w in wanted)
    )


def test_the_teachers_block_has_no_error_and_one_that_holds_it_has_the_least(
    teacher: Teacher, students: dict[str, dict[int, nn.Sequential]]
) -> None:
    told = by_kind(teacher, errors(teacher, students, images(4, seed=2)), "stage0.block0.mixer")
    same = find(told, "depthwise", channels=16, kernel=3)
    wider = find(told, "depthwise", channels=16, kernel=5)
    assert same == 0
    assert wider < 0.05  # a 5x5 kernel can be any 3x3 one
    assert wider < 0.5 * min(find(told, "pooling", channels=16), find(told, "nothing"))
    assert find(told, "depthwise", channels=8, kernel=3) == math.inf  # another width does not fit


def test_the_error_is_the_squared_distance_over_the_spread(teacher: Teacher) -> None:
    """That of leaving a block out, from inputs and outputs that a hook sees, in float64."""
    seen: list[tuple[Tensor, Tensor]] = []
    hook = teacher.network.get_submodule("stage0_block1_mlp").register_forward_hook(
        lambda _, given, output: seen.append((given[0], output))
    )
    batches = images(3, seed=3)
    with torch.no_grad():
        for batch in batches:
            teacher.network.eval()(batch)
    hook.remove()
    given, wanted = (torch.cat(ones).double() for ones in zip(*seen, strict=True))
    expected = ((given - wanted) ** 2).mean() / wanted.var(unbiased=False)
    told = by_kind(teacher, errors(teacher, {}, batches), "stage0.block1.mlp")
    assert find(told, "nothing") == pytest.approx(float(expected), rel=1e-3)
    assert find(told, "mlp", channels=16, ratio=1) == math.inf  # it did not learn


def test_spans_are_judged_alone_as_among_all(
    teacher: Teacher, students: dict[str, dict[int, nn.Sequential]]
) -> None:
    batches = images(3, seed=3)
    among = errors(teacher, students, batches)
    for name in ("stage0.block0.mixer", "stage0.block1.mlp"):
        alone = errors(teacher, students, batches, only=[name])
        assert list(alone) == [name]
        np.testing.assert_array_equal(alone[name], among[name])


def test_errors_add_up_and_the_exact_solution_is_the_best_of_all_archs(
    teacher: Teacher, students: dict[str, dict[int, nn.Sequential]]
) -> None:
    found = errors(teacher, students, images(4, seed=2))
    terms = loss_terms(teacher, found)
    rows = SPACE.enumerate()
    losses = np.array([sum(t.values[tuple(row[list(t.columns)])] for t in terms) for row in rows])
    fits = np.isfinite(losses)
    assert {SPACE.to_arch(row)["stage0.width"] for row in rows[fits]} == {16}
    assert fits.sum() == fits.size // 2
    assert (rows[losses == 0] == SPACE.to_row(arch())).all()
    shallow = SPACE.to_row(arch(depth=1))
    left_out = [
        find(by_kind(teacher, found, f"stage0.block1.{part}"), "nothing") for part in ("mixer", "mlp")
    ]
    assert losses[(rows == shallow).all(axis=1)][0] == pytest.approx(sum(left_out))
    macs = SPACE.sum_over_layers(rows, SPACE.layer_macs)
    limit = float(np.quantile(macs[fits], 0.4))
    bounds = {"macs": Bound(terms=SPACE.terms(SPACE.layer_macs), limit=limit)}
    best = solve(SPACE, terms, bounds, k=3)
    assert [one.loss for one in best] == pytest.approx(np.sort(losses[fits & (macs <= limit)])[:3].tolist())
    assert all(one.costs["macs"] <= limit for one in best)


def test_a_network_put_together_does_what_its_blocks_do(
    teacher: Teacher, students: dict[str, dict[int, nn.Sequential]]
) -> None:
    (batch,) = images(1, seed=4)
    same = assemble(teacher, students, arch()).eval()
    changed = assemble(teacher, students, arch(block0_kernel=5)).eval()
    lessons = teacher.lessons
    at, lesson = next((at, one) for at, one in enumerate(lessons) if one.name == "stage0.block0.mixer")
    student = next(
        students[lesson.name][index]
        for index, layers in enumerate(lesson.span.alternatives)
        if layers and layers[0].key.startswith("depthwise(activation=relu,channels=16,kernel=5")
    ).eval()
    with torch.no_grad():
        assert torch.equal(same(batch), teacher.network.eval()(batch))
        x = student(teacher.flow(lessons, batch)[at][0])
        for later in lessons[at + 1 :]:
            x = teacher.block(later)(x)
        assert torch.equal(changed(batch), x)
    with pytest.raises(ValueError, match=r"has at 'stage0.entry' was not learned: entry.*teacher's widths"):
        assemble(teacher, students, arch(width=8))


def test_spans_shared_out_learn_what_they_learn_together(
    teacher: Teacher, students: dict[str, dict[int, nn.Sequential]]
) -> None:
    weights = {key: value.clone() for key, value in teacher.network.state_dict().items()}
    random = torch.get_rng_state()
    alone = learn(teacher, images(100, seed=1), steps=100, lr=2e-2, only=["stage0.block1.mlp"])
    assert torch.equal(random, torch.get_rng_state())
    assert list(alone) == ["stage0.block1.mlp"]
    for index, module in alone["stage0.block1.mlp"].items():
        other = students["stage0.block1.mlp"][index].state_dict()
        for key, value in module.state_dict().items():
            torch.testing.assert_close(value, other[key])
    after = teacher.network.state_dict()
    assert all(torch.equal(after[key], value) for key, value in weights.items())


def kinds_of_their_own(shared: bool) -> SearchSpace:
    """Two places, with a slot each for a convolution and a pooling; one kind for both places, or one each."""

    def slot(place: int, kind: str) -> Slot:
        choice = "kind" if shared else f"kind{place}"

        def layer(chosen: Mapping[str, Value]) -> Layer | None:
            make = {"conv": lambda: nn.Conv2d(3, 3, 1), "pool": lambda: nn.AvgPool2d(3, 1, 1)}[kind]
            shape = (3, 4, 4)
            return (
                Layer(
                    name=f"{kind}{place}",
                    kind=kind,
                    sizes=(),
                    input_shape=shape,
                    output_shape=shape,
                    make=make,
                )
                if chosen[choice] == kind
                else None
            )

        return Slot(name=f"{place}.{kind}", choices=(choice,), layer=layer)

    names = ["kind"] if shared else ["kind0", "kind1"]
    slots = [slot(place, kind) for place in (0, 1) for kind in ("conv", "pool")]
    choices = [Choice(name, ("conv", "pool")) for name in names]
    return SearchSpace("kinds", choices, slots=slots, input_shape=(3, 4, 4))


def test_slots_that_stand_for_one_another_are_one_span() -> None:
    apart = spans(kinds_of_their_own(shared=False))
    assert [span.name for span in apart] == ["0.conv", "1.conv"]
    assert [[[layer.kind for layer in one] for one in span.alternatives] for span in apart] == [
        [["conv"], ["pool"]],
        [["conv"], ["pool"]],
    ]
    together = spans(kinds_of_their_own(shared=True))  # a convolution here means one there
    assert [span.name for span in together] == ["0.conv"]
    assert [[layer.name for layer in one] for one in together[0].alternatives] == [
        ["conv0", "conv1"],
        ["pool0", "pool1"],
    ]
    assert [span.name for span in spans(SPACE)] == [slot.name for slot in SPACE.slots]


def test_a_stage_of_blocks_of_one_kind_is_judged_whole() -> None:
    """Kinds and depths that fit between the same maps are alternatives, and do what their layers do."""
    space = preset("fast-8", classes=10, input_shape=(1, 8, 8))
    changes = {"stage0.block": "residual", "stage1.block": "residual", "stage0.depth": 1}
    chosen = {**space.largest(), **changes}
    teacher = Teacher(space=space, arch=chosen, network=space.build(chosen))
    lessons = teacher.lessons
    at, stage = next((at, one) for at, one in enumerate(lessons) if one.name == "stage1.entry")
    fitting = [stage.span.alternatives[index] for index in stage.fitting]
    assert {layers[-1].kind for layers in fitting} == set(space.choices[space.column["stage1.block"]].values)
    batch = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    given, wanted = teacher.flow(lessons, batch)[at]
    assert all(
        nn.Sequential(*(layer.build() for layer in layers))(given).shape == wanted.shape for layers in fitting
    )
    assert len({len(layers) for layers in fitting}) > 1


def test_what_cannot_be_asked(teacher: Teacher) -> None:
    with pytest.raises(ValueError, match="only builds its networks; blocks are learned in spaces of slots"):
        spans(resnet_space())
    with pytest.raises(ValueError, match="the teacher has no module 'stage0_entry'"):
        Teacher(space=SPACE, arch=arch(), network=nn.Linear(2, 2))
    with pytest.raises(ValueError, match="0 steps teach nothing"):
        learn(teacher, images(1, seed=0), steps=0)
    with pytest.raises(ValueError, match="no batches"):
        learn(teacher, [], steps=3)
