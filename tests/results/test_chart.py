"""Charts hold what they are given, and numbers read as people write them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.numbers import brief, count, duration, percent, points, significant, size, tiny
from results.report.chart import Axis, Chart, axis, plain
from results.report.markup import tag

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


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (percent(0.9734), "97.3 %"),
        (points(-0.0042), "\u22120.4 pt"),
        (points(0.00001), "\u00b10.0 pt"),
        (significant(0.012345), "0.0123"),
        (significant(1234.5), "1,234"),
        (significant(math.nan), "n/a"),
        (tiny(3.2e-6), "3.2\u00b710\u207b\u2076"),
        (tiny(0.0), "0"),
        (brief(0.00812), "8.12 \u00b5s"),
        (brief(0.5), "0.500 ms"),
        (count(1_234_567), "1.23 M"),
        (count(999), "999"),
        (size(13_480), "13.5 kB"),
        (duration(12.34), "12.3 s"),
        (duration(75), "1 min 15 s"),
        (duration(3725), "1 h 2 min"),
    ],
)
def test_numbers_read_as_people_write_them(written, words):
    assert written.replace("\u00a0", " ") == words


def test_text_is_escaped_and_attributes_are_quoted():
    assert str(tag("p", "<b>", tag("i", "a & b"), class_='"x"')) == (
        '<p class="&quot;x&quot;">&lt;b&gt;<i>a &amp; b</i></p>'
    )
