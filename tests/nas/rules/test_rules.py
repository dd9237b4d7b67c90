"""Every training rule on spaces of every kind: valid passes, in order, the same for the same moment."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.costs.counts.analytic import AnalyticCosts
from nas.rules import RULES, rule
from nas.rules.buckets import cost_buckets, probabilities
from nas.rules.moment import Floats, History, Moment, Pass, Size
from nas.rules.nested import chain
from nas.rules.progressive import lowest_open
from nas.rules.sampling import draw, draw_at
from search_spaces.choice import Choice
from search_spaces.rules import Forbid
from search_spaces.space import Rows, SearchSpace
from search_spaces.spaces.narrowed import ruled
from tests.spaces import cifar_space, digits_space, resnet_space, vit_space

SPACES = {"digits": digits_space, "cifar": cifar_space, "resnet": resnet_space, "vit": vit_space}


@cache
def space_of(name: str) -> SearchSpace:
    return SPACES[name]()


@cache
def size_of(name: str) -> Size:
    """MACs where layers are listed; elsewhere any positive size that grows with every choice will do."""
    space = space_of(name)
    if space.slots:
        return AnalyticCosts(space).macs

    def size(rows: Rows) -> Floats:
        return np.asarray(np.exp((rows / space.n_values).sum(axis=1)))

    return size


def moment(name: str, seed: int, *, progress: float = 0.9, sized: bool = True, **more: Any) -> Moment:
    return Moment(
        space=space_of(name),
        rng=np.random.default_rng(seed),
        progress=progress,
        size=size_of(name) if sized else None,
        **more,
    )


spaces = st.sampled_from(sorted(SPACES))
rules = st.sampled_from(sorted(RULES))
seeds = st.integers(0, 2**32 - 1)
shares = st.floats(0, 1, exclude_max=True)


@settings(max_examples=150, deadline=None)
@given(spaces, rules, seeds, shares, st.booleans(), st.integers(0, 4))
def test_passes_are_valid_ordered_and_repeatable(
    name: str, which: str, seed: int, progress: float, sized: bool, random_subnets: int
) -> None:
    sized = sized or which == "cost_buckets"  # which says so when it has no sizes, see below
    chosen = rule(which, {"random_subnets": random_subnets})
    passes = chosen(moment(name, seed, progress=progress, sized=sized))
    assert passes == chosen(moment(name, seed, progress=progress, sized=sized))
    assert 1 <= len(passes) <= random_subnets + 2
    space = space_of(name)
    for index, one in enumerate(passes):
        assert space.to_arch(space.to_row(one.arch)) == one.arch  # valid and canonical
        assert 0 < one.weight <= 1
        assert one.resolution is None
        if one.teacher is not None:
            assert one.teacher < index
            assert passes[one.teacher].arch == space.largest()
            assert passes[one.teacher].teacher is None
    assert passes[0].teacher is None


@pytest.mark.parametrize("which", ["sandwich", "progressive", "delayed", "cost_buckets"])
@pytest.mark.parametrize("progress", [0.0, 0.3, 0.6, 0.99])
def test_where_there_is_a_teacher_it_is_the_largest_and_all_others_learn_from_it(
    which: str, progress: float
) -> None:
    options = {"labels": 0.0} if which == "sandwich" else {}
    first, *others = rule(which, options)(moment("cifar", 1, progress=progress))
    assert first == Pass(arch=space_of("cifar").largest(), weight=first.weight)
    assert all(one.teacher == 0 for one in others)


@pytest.mark.parametrize("sized", [True, False])
def test_the_sandwich_learns_from_labels_first_and_by_default_throughout(sized: bool) -> None:
    """Same networks, same weights, whatever they learn from; the weights make the step's loss a mean."""
    for progress, taught_after in ((0.39, 0.4), (0.41, 0.4), (0.0, 0.0)):
        from_labels, then = (
            rule("sandwich", {"random_subnets": 3, "labels": share})(
                moment("cifar", 5, progress=progress, sized=sized)
            )
            for share in (1.0, taught_after)
        )
        assert [one.teacher for one in from_labels] == [None] * 5
        assert [one.teacher for one in then] == ([None] * 5 if progress < taught_after else [None, *[0] * 4])
        assert [one.arch for one in then] == [one.arch for one in from_labels]
        for passes in (from_labels, then):
            assert [one.weight for one in passes] == [pytest.approx(1 / 5)] * 5
    assert {one.teacher for one in rule("sandwich")(moment("cifar", 5, progress=0.999))} == {None}


def test_the_sandwich_has_the_smallest_with_every_mixer_in_turn() -> None:
    space, seen = space_of("cifar"), set()
    sizes = [name for name, category in zip(space.names, space.categorical, strict=True) if not category]
    for seed in range(40):
        smallest = rule("sandwich")(moment("cifar", seed))[1].arch
        row = np.where(space.categorical, 0, space.to_row(smallest))
        assert space.to_arch(row) == space.smallest()
        seen.add(smallest["stage0.block0.mixer"])
        assert all(smallest[name] == space.smallest()[name] for name in sizes)
    assert seen == {"identity", "pooling", "attention", "depthwise"}


@pytest.mark.parametrize("name", sorted(SPACES))
def test_sizes_are_drawn_evenly_from_end_to_end(name: str) -> None:
    """By size each fifth of the log range gets its share; choice by choice the middle gets most."""
    space, size = space_of(name), size_of(name)
    low, high = np.log(size(space.ends))

    def fifths(rows: Rows) -> Floats:
        place = (np.log(size(rows)) - low) / (high - low)
        return np.histogram(place, bins=5, range=(0, 1))[0] / len(rows)

    even = fifths(draw(moment(name, 0), 1500))
    plain = fifths(draw(moment(name, 0, sized=False), 1500))
    assert even.min() > 0.12
    assert even.max() < 0.3
    assert plain.max() > even.max()
    assert plain.min() < even.min()


def test_networks_larger_than_a_declared_reference_are_trained_like_others() -> None:
    """The reference teaches; what is drawn goes on to the largest there is."""
    vit = space_of("vit")
    space = SearchSpace("vit", vit.choices, vit.build, input_shape=(3, 16, 16), reference=vit.smallest())
    size = size_of("vit")
    one = Moment(space=space, rng=np.random.default_rng(0), progress=0.9, size=size)
    low, high = np.log(size(vit.ends))

    def places(rows: Rows) -> Floats:
        return np.asarray((np.log(size(rows)) - low) / (high - low))

    assert np.histogram(places(draw(one, 500)), bins=5, range=(0, 1))[0].min() > 0.1 * 500
    assert (chain(space) == chain(vit)).all()
    seen = [passed for _ in range(100) for passed in cost_buckets(one)]
    assert seen[0].arch == vit.smallest()
    assert places(np.array([space.to_row(passed.arch) for passed in seen])).max() > 0.8


@settings(max_examples=40, deadline=None)
@given(spaces, seeds, shares)
def test_nothing_below_the_open_values_is_drawn(name: str, seed: int, progress: float) -> None:
    space = space_of(name)
    lowest = lowest_open(space, progress)
    for sized in (True, False):
        rows = draw(moment(name, seed, sized=sized), 8, lowest)
        assert space.valid(rows).all()
        assert (rows >= np.where(space.active(rows), lowest, 0)).all()


@settings(max_examples=40, deadline=None)
@given(spaces, shares, shares)
def test_progressive_shrinking_only_ever_opens(name: str, first: float, second: float) -> None:
    early, late = (lowest_open(space_of(name), share) for share in sorted((first, second)))
    assert (late <= early).all()


def test_progressive_shrinking_opens_kernels_then_depths_then_the_rest() -> None:
    space = space_of("cifar")

    def open_kinds(progress: float) -> set[str]:
        closed = lowest_open(space, progress) == space.n_values - 1
        return {name.rsplit(".", 1)[-1] for name, shut in zip(space.names, closed, strict=True) if not shut}

    assert open_kinds(0.0) == {"kernel", "mixer"}
    assert open_kinds(0.34) == {"kernel", "mixer", "depth"}
    assert open_kinds(0.67) == {"kernel", "mixer", "depth", "width", "ratio"}
    assert (lowest_open(space, 0.9) == 0).all()
    alone = rule("progressive")(moment("cifar", 0, progress=0.2))
    assert [one.arch for one in alone] == [space.largest()]


def test_a_space_of_one_kind_of_choice_has_one_phase() -> None:
    space = SearchSpace("widths", [Choice("a.width", (1, 2, 3))], lambda _arch: None)  # type: ignore[arg-type,return-value]
    assert lowest_open(space, 0.0).tolist() == [1]
    assert lowest_open(space, 0.5).tolist() == [0]


def test_delayed_shrinking_starts_late_and_rises_to_the_full_weight() -> None:
    weights = []
    for progress in (0.0, 0.49, 0.5, 0.6, 0.75, 0.99):
        passes = rule("delayed")(moment("digits", 3, progress=progress))
        assert passes[0].weight == 1
        weights.append(passes[1].weight if len(passes) > 1 else 0.0)
    assert weights == pytest.approx([0, 0, 0.01, 0.406, 1, 1])


@pytest.mark.parametrize("name", sorted(SPACES))
def test_the_chain_is_nested_and_reaches_both_ends(name: str) -> None:
    space, links = space_of(name), chain(space_of(name))
    assert (np.diff(links, axis=0) >= 0).all()
    assert space.to_arch(links[-1]) == space.largest()
    sizes = ~space.categorical
    assert (links[0][sizes] == 0).all()
    members = {tuple(row[sizes]) for row in space.canonical(links)}
    for seed in range(10):
        for one in rule("nested")(moment(name, seed)):
            assert tuple(space.to_row(one.arch)[sizes]) in members or space.categorical.any()


def history(of: str, improving: int, n: int = 1200) -> History:
    """Losses that stand still, but for one sixth of the sizes where they halve."""
    rng = np.random.default_rng(7)
    space, size = space_of(of), size_of(of)
    low, high = np.log(size(space.ends))
    place = rng.random(n)
    falling = (place * 6).astype(int) == improving
    losses = np.where(falling, np.linspace(2, 1, n), 2.0) + 0.01 * rng.standard_normal(n)
    return History(sizes=np.exp(low + place * (high - low)), losses=losses, taught=np.ones(n, dtype=bool))


@pytest.mark.parametrize("improving", range(6))
def test_buckets_that_still_improve_are_drawn_more_often(improving: int) -> None:
    chances = probabilities(moment("cifar", 0, history=history("cifar", improving)), 6, 0.3)
    assert chances.sum() == pytest.approx(1)
    assert chances.argmax() == improving
    assert chances[improving] > 0.6
    assert chances.min() >= 0.3 / 6 - 1e-12


def test_without_a_history_all_buckets_are_equal_and_one_never_seen_comes_first() -> None:
    assert probabilities(moment("cifar", 0), 6, 0.3) == pytest.approx(np.full(6, 1 / 6))
    chances = probabilities(moment("cifar", 0, history=without_the_largest(history("cifar", 2, 240))), 6, 0.3)
    assert chances[5] == pytest.approx(chances[2])


def without_the_largest(full: History) -> History:
    seen = full.sizes < np.quantile(full.sizes, 0.83)
    return History(sizes=full.sizes[seen], losses=full.losses[seen], taught=full.taught[seen])


def test_a_bucket_that_holds_no_arch_takes_nothing_from_the_others() -> None:
    part = without_the_largest(history("cifar", 2))
    chances = probabilities(moment("cifar", 0, history=part), 6, 0.3)
    assert chances[5] == pytest.approx(0.3 / 6)
    assert chances.argmax() == 2


def test_passes_on_labels_do_not_count_as_a_buckets_loss() -> None:
    full = history("cifar", 2)
    untaught = History(sizes=full.sizes, losses=full.losses, taught=np.zeros(len(full.sizes), dtype=bool))
    assert probabilities(moment("cifar", 0, history=untaught), 6, 0.3) == pytest.approx(np.full(6, 1 / 6))


def test_the_shift_shows_in_what_is_drawn() -> None:
    space, size = space_of("cifar"), size_of("cifar")
    low, high = np.log(size(space.ends))
    places = []
    for seed in range(60):
        passes = cost_buckets(moment("cifar", seed, history=history("cifar", 4)))
        rows = np.stack([space.to_row(one.arch) for one in passes[1:]])
        places += list((np.log(size(rows)) - low) / (high - low))
    share = np.histogram(places, bins=6, range=(0, 1))[0] / len(places)
    assert share[4] > 0.6


def test_without_sizes_buckets_say_what_to_set() -> None:
    with pytest.raises(ValueError, match="cost_buckets needs a cost model; set train.sampling to 'size'"):
        cost_buckets(moment("cifar", 0, sized=False))
    with pytest.raises(ValueError, match="need a cost model"):
        draw_at(moment("cifar", 0, sized=False), np.array([0.5]))


@settings(max_examples=40, deadline=None)
@given(spaces, rules, seeds)
def test_teachers_and_the_largest_see_the_images_as_they_are(name: str, which: str, seed: int) -> None:
    sizes = [(32, 32), (24, 24), (16, 16)]
    passes = rule(which, resolutions=sizes)(moment(name, seed))
    plain = rule(which)(moment(name, seed))
    assert [one.arch for one in passes] == [one.arch for one in plain]
    for index, one in enumerate(passes):
        if one.arch == space_of(name).largest() or index in {other.teacher for other in passes}:
            assert one.resolution is None
        else:
            assert one.resolution in sizes


def test_every_resolution_has_its_turn() -> None:
    sizes = [(32, 32), (24, 24), (16, 16)]
    seen = {
        one.resolution
        for seed in range(30)
        for one in rule("sandwich", resolutions=sizes)(moment("cifar", seed))[1:]
    }
    assert seen >= set(sizes)


def test_a_rules_own_settings_are_typed_have_a_range_and_a_text() -> None:
    """What a recipe may give ``train.rule``: nobody else has to be told of a rule's settings."""
    found = RULES["delayed"].settings
    assert list(found) == ["random_subnets", "delay", "epsilon", "rise"]
    assert found["delay"].text == "share of the training in which the largest runs alone."
    assert rule("delayed", {"delay": 0.1})(moment("digits", 0, progress=0.2))[1:]
    assert not rule("delayed")(moment("digits", 0, progress=0.2))[1:]
    with pytest.raises(ValueError, match="delay = 1.4: Input should be less than or equal to 1"):
        rule("delayed", {"delay": 1.4})
    with pytest.raises(ValueError, match="random_subnets = -1: Input should be greater than or equal to 0"):
        rule("nested", {"random_subnets": -1})
    with pytest.raises(ValueError, match="'progressive' has no setting 'alon'. Did you mean 'alone'"):
        rule("progressive", {"alon": 0.5})
    for name in RULES:
        assert all(one.text for one in RULES[name].settings.values()), name


def test_only_the_rule_that_draws_by_size_needs_sizes() -> None:
    assert [name for name in RULES if "sizes" in RULES[name].needs] == ["cost_buckets"]


def test_an_unknown_rule_is_named() -> None:
    with pytest.raises(ValueError, match="unknown training rule 'sandwhich'. Did you mean 'sandwich'"):
        rule("sandwhich")


@pytest.mark.parametrize("name", sorted(RULES))
@pytest.mark.parametrize("sized", [True, False])
def test_no_pass_is_of_an_arch_that_the_rules_of_its_space_forbid(name: str, sized: bool) -> None:
    """``ascending`` leaves few of the archs that are drawn choice by choice."""
    if "sizes" in RULES[name].needs and not sized:
        return
    given_space = space_of("resnet")
    depth = next(choice.name for choice in given_space.choices if choice.role == "depth")
    space = ruled(
        given_space, [Forbid(values={depth: given_space.choices[given_space.column[depth]].values[-1]})]
    )
    for seed in range(4):
        state = Moment(
            space=space,
            rng=np.random.default_rng(seed),
            progress=0.2 * seed + 0.1,
            size=size_of("resnet") if sized else None,
        )
        passes = rule(name)(state)
        assert passes
        assert space.valid(np.array([space.to_row(one.arch) for one in passes])).all()
