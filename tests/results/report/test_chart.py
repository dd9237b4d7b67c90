"""Charts hold what they are given as data that plotly.js draws, and text stays text."""

from __future__ import annotations

import json
import math
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.report.chart import PERCENT, PLAIN, Axis, Chart, axis
from results.report.markup import tag

numbers = st.floats(1e-6, 1e6)
X = Axis(label="x", low=0, high=10, ticks=PLAIN)
Y = Axis(label="y", low=0, high=1, ticks=PERCENT)


@given(st.lists(numbers, min_size=1), st.booleans(), st.booleans())
def test_an_axis_holds_its_values(values: list[float], log: bool, zero: bool) -> None:
    found = axis("x", values, PLAIN, log=log, zero=zero)
    assert found.low < found.high
    assert all(found.low <= value * (1 + 1e-9) and value <= found.high * (1 + 1e-9) for value in values)
    ends = json.loads(json.dumps(found.node()))["range"]
    assert ends == [math.log10(found.low), math.log10(found.high)] if log else [found.low, found.high]


def test_an_axis_of_shares_ends_at_one() -> None:
    assert axis("accuracy", [0.9, 0.99], PERCENT, most=1.0).high == pytest.approx(1.0, abs=0.01)
    assert axis("accuracy", [], PERCENT).high > 0
    assert axis("accuracy", [0.5, math.nan], PERCENT).low < 0.5


def test_points_of_a_series_are_one_trace_with_their_tips() -> None:
    chart = Chart("t", X, Y)
    chart.line([0, 5], [0, 1], "c0", stairs=True)
    chart.point(1, 0.5, "front", tip="first <b>")
    chart.point(2, 0.25, "front", tip="second")
    chart.point(2, 0.25, "front", tip="ring", symbol="circle-open")
    line, points, ring = chart.figure()["data"]
    assert (line["line"]["shape"], line["line"]["color"]) == ("hv", "@c0")
    assert (points["x"], points["y"]) == ([1, 2], [0.5, 0.25])
    assert points["hovertext"] == ["first &lt;b&gt;", "second"]
    assert ring["marker"]["symbol"] == "circle-open"


def test_a_limit_shades_what_is_beyond_it() -> None:
    chart = Chart("t", X, Y)
    chart.limit(4, "limit 4 ms")
    shade, _, words = chart.figure()["data"]
    assert (min(shade["x"]), max(shade["x"])) == (4, 10)
    assert words["text"] == ["limit 4 ms"]


def test_the_figure_survives_the_page_and_nan_is_refused() -> None:
    chart = Chart('a "title"', X, Y)
    chart.point(1, 1, "c0", tip="'quoted' & \"quoted\"")
    text = chart.draw().text
    figure = text.split('data-figure="')[1].split('"')[0]
    assert json.loads(unescape(figure)) == json.loads(json.dumps(chart.figure()))
    chart.point(math.nan, 1, "c0")
    with pytest.raises(ValueError, match="JSON"):
        chart.draw()


def test_text_is_escaped_and_attributes_are_quoted() -> None:
    assert str(tag("p", "<b>", tag("i", "a & b"), class_='"x"')) == (
        '<p class="&quot;x&quot;">&lt;b&gt;<i>a &amp; b</i></p>'
    )
