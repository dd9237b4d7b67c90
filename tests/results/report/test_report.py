"""The report shows what a run has recorded."""

import json
import re
from dataclasses import replace
from html import unescape
from xml.etree import ElementTree

import pytest

from results.files import append_line, read_json, write_json
from results.records import SearchSummary, Trial
from results.report import write_report
from results.report.searching import search_curve
from results.report.sources import read_run
from results.report.tradeoff import squashed
from tests.results.records.test_records import ENTRY
from tests.results.report.finished_run import TARGET, write_finished_run
from tests.results.report.reading import own, read


def test_finished_run_is_told_in_full(run):
    path = write_report(run)
    assert path == run / "report.html"
    _, text = read(path)
    for words in (
        "n5 classifies 97.8 % of 360 test images correctly in 0.0973 ms a call",
        "65 % of the limit of 0.150 ms",
        "4.2 times faster than the largest network",
        "0.3 points less accurate",
        "random, the control",
        "44 trials below",
        "Together 1.47 times faster",
        "not faster: 0.118 ms against 0.112 ms",
        "Epoch 3: the largest subnet does worse than the smallest subnet",
        "quarry run digits --out run --set train.epochs=24",
        "changes to that commit that were not committed",
        "noise of the machine2.1 %",
        "Where the time goes after quantize",
        "18% of the time (0.021 ms) is spent on conversions",
    ):
        assert words in text
    assert "not finished" not in text
    assert "cannot be shown" not in text
    assert "quarry compress --out run" in text
    assert "n5, finetunefurther40300 G9.0 s" in text
    assert "the supernetfrom scratch24" in text
    assert "0.025 kWh" in text


def test_network_is_chosen_without_the_test_data(run):
    path = run / "artifacts" / "n3" / "card.json"
    card = read_json(path)
    card["accuracy"]["exported_test"] = 0.999
    write_json(path, card)
    assert "n5 classifies" in read(write_report(run))[1]
    card["accuracy"]["validation"] = 0.999
    write_json(path, card)
    assert "n3 classifies" in read(write_report(run))[1]


def test_missed_limit_is_said_first(run):
    for name in ("n3", "n5"):
        path = run / "artifacts" / name / "card.json"
        write_json(path, read_json(path) | {"limit": {"latency_ms": 0.01, "met": False}})
    assert "None of the exported networks meets the limit" in read(write_report(run))[1]


def test_a_busy_machine_is_said_in_the_first_section(run):
    assert "not left alone" not in read(write_report(run))[1]
    line = (
        "2026-11-21T10:00:00+00:00 warning: other programs keep 1.4 cores busy; what is measured is too slow"
    )
    (run / "log.txt").write_text(f"2026-11-21T10:00:00+00:00 reading digits\n{line}\n{line}\n")
    _, text = read(write_report(run))
    assert text.index("other programs keep 1.4 cores busy") < text.index("44 trials below")
    assert "such warnings" not in text


def test_what_is_handed_over_is_in_the_main_picture(run):
    sources = read_run(run)
    card = sources.cards[0]
    page = own(write_report(run))
    (figure,) = re.findall(r'aria-label="[^"]*measured front"[^>]*data-figure="([^"]*)"', page)
    marks = [
        one
        for one in json.loads(unescape(figure))["data"]
        if one.get("marker", {}).get("symbol") == "diamond"
    ]
    points = [(x, y) for mark in marks for x, y in zip(mark["x"], mark["y"], strict=True)]
    assert (card.latency.measured_ms, card.accuracy.validation) in points
    assert len(points) == len(sources.cards)
    assert "the file handed over" in figure


@pytest.mark.parametrize(
    ("latencies", "log"), [([1, 1.2, 1.3, 9], True), ([1, 1.2, 1.3, 3], False), ([], False)]
)
def test_the_axis_is_logarithmic_where_the_largest_would_squash_the_rest(latencies, log):
    assert squashed(latencies) is log


def test_chosen_networks_are_as_wide_as_their_time(run):
    drawings = re.findall(r'<svg class="silhouette".*?</svg>', own(write_report(run)), flags=re.S)
    ends = [
        max(float(bar.get("x")) + float(bar.get("width")) for bar in ElementTree.fromstring(drawing))
        for drawing in drawings
    ]
    summary = SearchSummary.from_json(read_json(run / "search" / "front.json"))
    times = [summary.front[5].measured_ms, summary.front[3].measured_ms, summary.largest.measured_ms]
    assert [end / ends[-1] for end in ends] == pytest.approx([t / times[-1] for t in times], rel=0.01)


def test_every_form_that_was_measured_has_its_check(run):
    check = read_json(run / "measure" / "check.json")
    write_json(run / "measure" / "check-int8.json", check | {"networks": 7})
    target = read_json(run / "measure" / "target.json")
    write_json(run / "measure" / "target.json", target | {"forms": ["fp32", "int8"]})
    _, text = read(write_report(run))
    assert "fp32 and int8" in text
    assert text.index("Networks in fp32") < text.index("Networks in int8")


def test_how_well_accuracy_was_predicted_stands_beside_latency(run):
    _, text = read(write_report(run))
    assert "guided1400.4 points0.9 points0.71" in text


def test_what_blocks_taught_is_no_searcher(run):
    append_line(run / "search" / "blocks.jsonl", {"place": "stage0.block0", "errors": [0.1]})
    found = read_run(run)
    assert "blocks" not in found.trials
    assert found.unreadable == []


def test_what_the_limit_left_of_the_space_is_told(run):
    record = {
        "profile": "board",
        "limit_ms": 0.5,
        "kept": {"width": [8, 16]},
        "networks": 4e6,
        "networks_left": 3e3,
    }
    write_json(run / "train" / "space.json", record)
    _, text = read(write_report(run))
    assert "left of the space for 0.500 ms on board" in text
    assert "3.00 k of 4.00 M networks" in text
    assert "width 8, 16" in text


def test_hypervolume_is_a_share_of_its_box():
    trials = [
        _trial({"accuracy": 0.75}, latency_ms=0.5, latency_ms_upper=0.6),
        _trial(None, latency_ms=0.1),
        _trial({"accuracy": 1.0}, latency_ms=0.9, latency_ms_upper=1.1),
        _trial({"accuracy": 1.0}, latency_ms=0.75),
    ]
    summary = SearchSummary(limit_ms=1.0, confidence=0.95, reference=(0.5, 1.0), front=(), largest=ENTRY)
    found = search_curve("nsga2", trials, summary)
    assert found.curve == pytest.approx([0.25, 0.25, 0.25, 0.25 + 0.5 * 0.25])
    assert (found.failed, found.best) == (1, 1.0)


def _trial(scores, **costs):
    return Trial(ticket=0, arch={}, scores=scores, costs=costs)


def test_the_front_says_what_it_loses_on_images_no_searcher_saw(tmp_path):
    summary = SearchSummary.from_json(read_json(write_finished_run(tmp_path) / "search" / "front.json"))
    front = tuple(replace(e, held_back_accuracy=e.accuracy - 0.02) for e in summary.front)
    largest = replace(summary.largest, held_back_accuracy=summary.largest.accuracy - 0.005)
    told = replace(
        summary, front=front, largest=largest, scored_images=200, held_back_images=87, known_first=12
    )
    write_json(tmp_path / "search" / "front.json", told.to_json())
    page = write_report(tmp_path).read_text()
    assert "There the front is 2.0 points lower on average" in page
    assert "which nobody chose, 0.5 points lower: the 1.5 points between them are the luck" in page
    assert "87 that no searcher saw" in page
    assert "began with the 12 best networks known" in page
    gained = tuple(replace(e, held_back_accuracy=e.accuracy + 0.01) for e in summary.front)
    write_json(tmp_path / "search" / "front.json", replace(told, front=gained).to_json())
    page = write_report(tmp_path).read_text()
    assert "There the front is 1.0 points higher on average" in page
    assert "nothing of the front was the luck of being chosen" in page
    assert told.validation_accuracy(front[0]) == pytest.approx(front[0].accuracy - 0.02 * 87 / 287)


def test_accuracy_that_tells_no_networks_apart_is_said(run):
    front = read_json(run / "search" / "front.json")
    write_json(run / "search" / "front.json", front | {"reference": [1.0, front["reference"][1]]})
    _, text = read(write_report(run))
    assert "no searcher found a better one within the limit" in text
    assert "nsga2" in text
    assert "perfect network that takes no time" not in text


def test_latencies_from_constants_are_called_computed(run):
    write_json(run / "measure" / "target.json", replace(TARGET, computed=True).to_json())
    path = write_report(run)
    _, text = read(path)
    assert "front, computed from the exported file" in text
    assert "all trials and the computed front" in path.read_text()
    assert "were computed. The slowest layer" in text
    for words in ("measured front", "were measured", "measured on the exported file", "its measured time"):
        assert words not in text


def test_latencies_whose_intervals_reach_zero_are_drawn_all_the_same(run):
    file = run / "measure" / "check.json"
    check = read_json(file)
    write_json(file, check | {"low_ms": [0.0, *check["low_ms"][1:]]})
    assert "cannot be shown" not in read(write_report(run))[1]
