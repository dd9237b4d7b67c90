"""A run that is not finished, damaged or old has a report that says so, and shows the rest."""

import re
import shutil

import pytest

from results.files import append_line, read_json, read_lines, write_json
from results.report import write_report
from tests.results.report.reading import read

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
