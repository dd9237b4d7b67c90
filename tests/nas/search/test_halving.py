"""Successive halving: how many networks are trained for how long, and which go on."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.search.halving import Rung, affordable, promoted, rungs

COUNTS = {"first_epochs": st.integers(1, 5), "keep": st.integers(2, 5), "last": st.integers(1, 3)}


def test_a_third_of_the_networks_goes_on_for_three_times_as_long() -> None:
    assert rungs(networks=18, first_epochs=2, keep=3, last=2) == (
        Rung(networks=18, epochs=2),
        Rung(networks=6, epochs=6),
    )


def test_one_network_more_than_is_wanted_makes_a_rung_and_as_many_as_wanted_make_none() -> None:
    assert rungs(networks=3, first_epochs=1, keep=3, last=2) == (Rung(networks=3, epochs=1),)
    assert rungs(networks=2, first_epochs=1, keep=3, last=2) == ()


@given(networks=st.integers(1, 60), **COUNTS)
def test_rungs_narrow_down_and_none_costs_much_more_than_the_first(
    networks: int, first_epochs: int, keep: int, last: int
) -> None:
    found = rungs(networks=networks, first_epochs=first_epochs, keep=keep, last=last)
    assert all(one.networks > last for one in found)
    for one, following in pairwise(found):
        assert following.networks < one.networks
        assert following.epochs == keep * one.epochs
    # Dividing by ``keep`` rounds down, so a rung costs at most what the one before did, but for ``last``.
    assert all(one.cost <= max(found[0].cost, (last + 1) * one.epochs) for one in found)


@given(epochs=st.floats(0, 500), most=st.integers(1, 60), **COUNTS)
def test_the_widest_halving_that_can_be_paid_for_is_taken(
    epochs: float, most: int, first_epochs: int, keep: int, last: int
) -> None:
    found = affordable(epochs, first_epochs=first_epochs, keep=keep, last=last, most=most)
    assert sum(one.cost for one in found) <= epochs
    networks = found[0].networks if found else last
    for more in range(networks + 1, most + 1):
        wider = rungs(networks=more, first_epochs=first_epochs, keep=keep, last=last)
        assert sum(one.cost for one in wider) > epochs


def test_failed_trainings_never_go_on_and_equal_ones_keep_their_order() -> None:
    scores = [0.5, None, 0.7, math.nan, 0.7]
    assert promoted(["a", "b", "c", "d", "e"], scores) == ["c", "e", "a"]


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="keep of 2 or more"):
        rungs(networks=3, first_epochs=1, keep=1, last=1)
