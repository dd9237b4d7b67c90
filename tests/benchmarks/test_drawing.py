"""Charts of docs/ have readable ticks, and hold what they are given where the axes say."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.report.chart import PERCENT, PLAIN, Axis, axis
from tests.benchmarks.drawing import Chart, share, ticks

numbers = st.floats(1e-6, 1e6)


@given(st.lists(numbers, min_size=1), st.booleans(), st.booleans())
def test_axis_holds_its_values_and_has_readable_ticks(values, log, zero):
    found = axis("x", values, PLAIN, log=log, zero=zero)
    assert all(-1e-9 <= share(found, value) <= 1 + 1e-9 for value in values)
    marked = ticks(found)
    assert marked == sorted(marked)
    assert all(found.low <= tick * (1 + 1e-9) and tick <= found.high * (1 + 1e-9) for tick in marked)
    assert 1 <= len(marked) <= 14


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_linear_axis_has_enough_ticks(low, span):
    assert 3 <= len(ticks(Axis(label="x", low=low, high=low + span, ticks=PLAIN))) <= 11


def test_marks_land_where_the_axes_say_and_text_stays_text():
    axes = Axis(label="x <ms>", low=0, high=10, ticks=PLAIN), Axis(label="y", low=0, high=1, ticks=PERCENT)
    chart = Chart('"t"', *axes, {"a & b": "#123456"}, width=640, height=400)
    (left, bottom), (right, top) = chart.at(0, 0), chart.at(10, 1)
    assert chart.at(5, 0.5) == (pytest.approx((left + right) / 2), pytest.approx((bottom + top) / 2))
    assert left < right
    assert top < bottom
    chart.line([0, 10], [0, 1], "a & b")
    chart.whisker(5, -3, 0.5, "a & b")  # down to the frame, and not beyond
    chart.point(5, 0.5, "a & b", tip="<i>")
    drawn = chart.draw(legend_y=20)
    across, middle = chart.at(5, 0.5)
    assert f"M{left} {bottom}L{right} {top}" in drawn
    assert f"M{across} {bottom}V{middle}" in drawn
    texts = [one.text for one in ElementTree.fromstring(drawn).iter() if one.text]
    assert {"x <ms>", "a & b", "<i>", "40\u00a0%"} <= set(texts)
