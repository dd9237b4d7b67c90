"""The report shows what a run has recorded and says what it has not, and nothing gets out of hand."""

import ast
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

import results.report
from results.files import append_line, read_json, read_lines, write_json
from results.records import SearchSummary, Trial
from results.report import write_report
from results.report.searching import search_curve
from results.report.sources import read_run
from results.report.tradeoff import squashed
from tests.results.records.test_records import ENTRY
from tests.results.report.finished_run import TARGET, write_finished_run

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Balance(HTMLParser):
    """Checks that elements are closed in order, and gathers text and addresses."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.addresses, self.tags = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, _):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)


def read(path):
    page = Balance()
    page.feed(path.read_text())
    assert page.open == []
    return page, re.sub(r"\s+", " ", "".join(page.text).replace("\u00a0", " "))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return write_finished_run(tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(
        finished, tmp_path / "run"
    )  # each line of a log waits for the disk; a copy does not


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
    assert "n5, finetunefurther40300\u00a0G9.0\u00a0s" in text.replace(" ", "\u00a0").replace(
        "n5,\u00a0", "n5, "
    )
    assert "the supernetfrom\u00a0scratch24" in text.replace("from scratch", "from\u00a0scratch")
    assert "0.025\u00a0kWh" in (run / "report.html").read_text()


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


def test_page_needs_nothing_else(run):
    page, _ = read(write_report(run))
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in page.addresses)
    library = (Path(results.report.__file__).parent / "plotly-basic.min.js").read_text()
    source = (run / "report.html").read_text()
    assert source.count(library) == 1
    assert not re.search(r"https?://|@import|url\(", source.replace(library, ""))
    assert len(source) < 2_000_000


def _own(path):
    """The page without the library that draws its charts."""
    library = (Path(results.report.__file__).parent / "plotly-basic.min.js").read_text()
    return path.read_text().replace(library, "")


def test_what_is_handed_over_is_in_the_main_picture(run):
    sources = read_run(run)
    card = sources.cards[0]
    page = _own(write_report(run))
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


def test_drawings_are_well_formed(run):
    drawings = re.findall(r"<svg.*?</svg>", _own(write_report(run)), flags=re.S)
    assert len(drawings) > 8
    for drawing in drawings:
        for element in ElementTree.fromstring(drawing).iter():
            assert "nan" not in " ".join(element.attrib.values())


def test_chosen_networks_are_as_wide_as_their_time(run):
    drawings = re.findall(r'<svg class="silhouette".*?</svg>', _own(write_report(run)), flags=re.S)
    ends = [
        max(float(bar.get("x")) + float(bar.get("width")) for bar in ElementTree.fromstring(drawing))
        for drawing in drawings
    ]
    summary = SearchSummary.from_json(read_json(run / "search" / "front.json"))
    times = [summary.front[5].measured_ms, summary.front[3].measured_ms, summary.largest.measured_ms]
    assert [end / ends[-1] for end in ends] == pytest.approx([t / times[-1] for t in times], rel=0.01)


PARTS = [
    "artifacts",
    "compress",
    "search/front.json",
    "search",
    "measure",
    "train",
    "stages.json",
    "run.json",
    "recipe.json",
]


@pytest.mark.parametrize("gone", range(1, len(PARTS) + 1))
def test_unfinished_run_has_a_report(run, gone):
    for part in PARTS[:gone]:
        shutil.rmtree(run / part) if (run / part).is_dir() else (run / part).unlink()
    _, text = read(write_report(run))
    assert "No network has been exported yet" in text
    assert ("No network has been compressed yet" in text) == (gone >= 2)
    assert ("no common reference yet" in text) == (gone == 3)
    assert ("The search has not run" in text) == (gone >= 4)
    assert ("Nothing has been measured" in text) == (gone >= 5)
    assert ("has not been trained" in text) == (gone >= 6)
    assert ("This run is not finished" in text) == (gone >= 7)
    assert "cannot be shown" not in text


@pytest.mark.parametrize("part", [*PARTS, "provenance.json", "measure/check.json"])
def test_any_part_may_be_missing(run, part):
    shutil.rmtree(run / part) if (run / part).is_dir() else (run / part).unlink()
    _, text = read(write_report(run))
    assert "cannot be shown" not in text


def test_empty_folder_has_a_report_and_none_has_not(tmp_path):
    _, text = read(write_report(tmp_path))
    assert "Still to come: measure, train, search, compress, export" in text
    with pytest.raises(ValueError, match="not a folder"):
        write_report(tmp_path / "nowhere")


def test_text_of_a_run_stays_text(run):
    evil = '<script>alert("&")</script>'
    write_json(run / "recipe.json", {"name": evil, "space": {"module": f"'{evil}"}})
    summary = read_json(run / "search" / "front.json")
    summary["front"][3]["searcher"] = evil
    summary["front"][3]["layers"][0]["kind"] = evil
    write_json(run / "search" / "front.json", summary)
    step = next(read_lines(run / "compress" / "steps.jsonl"))
    step |= {"network": evil, "step": evil, "kept": False, "reason": evil, "candidate": evil, "why": [evil]}
    append_line(run / "compress" / "steps.jsonl", step)
    page, text = read(write_report(run))
    assert page.tags.count("script") == 1
    assert evil in text


def test_broken_record_is_named_and_the_rest_is_shown(run):
    (run / "search" / "front.json").write_text('{"limit_ms": 0.1')
    card = read_json(run / "artifacts" / "n5" / "card.json")
    del card["latency"]["measured_ms"]
    write_json(run / "artifacts" / "n5" / "card.json", card)
    _, text = read(write_report(run))
    assert "search/front.json" in text
    assert "artifacts/n5/card.json: Card.latency lacks measured_ms" in text
    assert "n3 classifies" in text


def test_lines_of_an_odd_form_are_named_and_the_others_shown(run):
    log = run / "compress" / "steps.jsonl"
    step = next(read_lines(log))
    append_line(log, step | {"seconds": "long"})
    append_line(log, {"network": "n9"})
    append_line(log, step | {"network": "last"})
    _, text = read(write_report(run))
    assert "compress/steps.jsonl: StepRecord.seconds is a number, not 'long', and 1 more like it" in text
    assert "Together 1.47 times faster" in text
    assert "lastKept: fuse" in text


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


def test_number_that_makes_no_sense_costs_its_section_alone(run):
    path = run / "measure" / "check.json"
    check = path.read_text()
    path.write_text(re.sub('"measured_ms": .*?]', '"measured_ms": [NaN, NaN, 1e999]', check, flags=re.S))
    _, text = read(write_report(run))
    assert "Latency and accuracy models cannot be shown" in text
    assert "n5 classifies" in text


def test_older_records_are_refused_as_such(run):
    (run / "measure").rename(run / "profile")
    path = run / "artifacts" / "n5" / "card.json"
    write_json(path, read_json(path) | {"schema": 1})
    _, text = read(write_report(run))
    assert "artifacts/n5/card.json: Card is of schema 1, but this version of Quarry reads schema 3" in text
    assert "profile/: written by an older version of Quarry" in text


REPORT = sorted(Path(results.report.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("file", REPORT, ids=lambda file: file.stem)
def test_report_is_built_from_typed_records(file):
    """Neither untyped JSON nor Any gets into a module of the report; what reads a file reads a record."""
    tree = ast.parse(file.read_text())
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert not names & {"Any", "Json", "object", "cast", "getattr"}
    readers = names & {"read_json", "read_lines"}
    assert not readers or file.stem == "sources"


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


def test_report_imports_nothing_heavy():
    code = (
        "import sys, results.report; "
        "sys.exit(bool({'torch', 'pandas', 'scipy', 'plotly', 'pyarrow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


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
