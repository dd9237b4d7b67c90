"""Charts hold what they are given, and text stays text."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.report.markup import tag
from tests.benchmarks.drawing import Axis, Chart, axis, plain

numbers = st.floats(1e-6, 1e6)


@given(st.lists(numbers, min_size=1), st.booleans(), st.booleans())
def test_axis_holds_its_values_and_has_readable_ticks(values, log, zero):
    found = axis("x", values, plain, log=log, zero=zero)
    assert all(-1e-9 <= found.share(value) <= 1 + 1e-9 for value in values)
    ticks = found.ticks()
    assert ticks == sorted(ticks)
    assert all(found.low <= tick * (1 + 1e-9) and tick <= found.high * (1 + 1e-9) for tick in ticks)
    assert 1 <= len(ticks) <= 14


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_linear_axis_has_enough_ticks(low, span):
    ticks = Axis(label="x", low=low, high=low + span, words=plain).ticks()
    assert 3 <= len(ticks) <= 11


def test_axis_of_shares_ends_at_one():
    assert axis("accuracy", [0.9, 0.99], plain, most=1.0).high == pytest.approx(1.0, abs=0.01)
    assert axis("accuracy", [], plain).high > 0
    assert (axis("share", [0, 0], plain).low, axis("share", [0, 0], plain).high) == (0, 1)
    assert axis("accuracy", [0.5, math.nan], plain).share(0.5) == pytest.approx(0.5)


def test_points_land_where_the_axes_say():
    chart = Chart(
        "t", Axis(label="x", low=0, high=10, words=plain), Axis(label="y", low=0, high=1, words=plain)
    )
    left, bottom = chart.at(0, 0)
    right, top = chart.at(10, 1)
    assert chart.at(5, 0.5) == (pytest.approx((left + right) / 2), pytest.approx((bottom + top) / 2))
    assert left < right
    assert top < bottom
    chart.line([0, 5, 10], [0, 1, 0.5], "c0", stairs=True)
    assert f"M{left} {bottom}H{chart.at(5, 0)[0]}V{top}" in chart.draw().text


def test_text_is_escaped_and_attributes_are_quoted():
    assert str(tag("p", "<b>", tag("i", "a & b"), class_='"x"')) == (
        '<p class="&quot;x&quot;">&lt;b&gt;<i>a &amp; b</i></p>'
    )
