"""A run without shared weights: networks near the limit are trained alone, the better ones longer."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from results.files import read_lines
from results.records import Card, Raced, RacePlan, Scouted, SearchSummary, StepRecord, read_record
from tests.end_to_end.command import quarry, settings

ALONE = (
    f"space.module={Path(__file__).with_name('tiny_space.py')}:tiny",
    "train.epochs=6",
    'search.ranking="alone"',
    "search.latency_ms=1000",  # met by all of them, on any machine
    "search.workers=1",
    "race.networks=4",
    "race.epochs=1",
    "race.finalists=1",
    "compress.calibration_images=32",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    done = quarry("run", "digits", "--out", "run", *settings(*ALONE), folder=folder, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "said.txt").write_text(done.stdout)
    return folder / "run"


def raced(run: Path) -> list[Raced]:
    return [Raced.from_json(line) for line in read_lines(run / "search" / "race.jsonl")]


def test_one_goes_on_and_is_trained_to_the_end(run: Path) -> None:
    plan = read_record(RacePlan, run / "search" / "plan.json")
    assert [(rung.networks, rung.epochs) for rung in plan.rungs] == [(4, 1), (1, 6)]
    first = [one for one in raced(run) if one.rung == 0]
    (last,) = [one for one in raced(run) if one.rung == 1]
    assert len(first) == 4
    best = min(first, key=lambda one: one.train_loss or 9.0)
    assert last.arch == best.arch
    assert last.epochs == 6


def test_what_is_handed_over_is_the_network_that_was_trained_alone(run: Path) -> None:
    (card,) = [read_record(Card, file) for file in run.glob("artifacts/*/card.json")]
    summary = read_record(SearchSummary, run / "search" / "front.json")
    (entry,) = summary.front
    (last,) = [one for one in raced(run) if one.rung == 1]
    assert card.arch == entry.arch == last.arch
    assert entry.accuracy == last.accuracy
    assert card.accuracy.validation == pytest.approx(last.accuracy)  # through the file
    assert card.limit.met
    assert card.reference is None
    assert not (run / "train").exists()


def test_a_file_that_meets_the_limit_is_not_made_faster(run: Path) -> None:
    steps = [StepRecord.from_json(line) for line in read_lines(run / "compress" / "steps.jsonl")]
    assert [step.step for step in steps] == ["quantize", "quantize_aware", "prune"]
    assert not any(step.kept for step in steps)
    assert all("not tried: the file takes" in step.reason for step in steps)


def test_networks_were_measured_in_both_formats_before_any_was_trained(run: Path) -> None:
    lines = [Scouted.from_json(line) for line in read_lines(run / "measure" / "scouted.jsonl")]
    assert set(Counter(json.dumps(one.arch) for one in lines).values()) == {2}
    assert {one.precision for one in lines} == {"fp32", "int8"}


def test_the_report_shows_a_run_without_a_supernet(run: Path) -> None:
    page = (run / "report.html").read_text()
    assert "% of the limit of" in page
    assert "makes no sense" not in page
    assert "not finished" not in page
    assert "The race" in page


def test_a_lost_front_is_made_again_without_another_training(run: Path) -> None:
    before = raced(run)
    (run / "search" / "front.json").unlink()
    stages = json.loads((run / "stages.json").read_text())
    del stages["search"]
    (run / "stages.json").write_text(json.dumps(stages))
    done = quarry("run", "digits", "--out", "run", *settings(*ALONE), folder=run.parent, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert raced(run) == before


def test_a_limit_that_nothing_meets_puts_no_race_aside(run: Path) -> None:
    before = (run / "stages.json").read_text(), (run / "recipe.json").read_text()
    changed = settings("search.latency_ms=0.000001")
    done = quarry("search", "--out", "run", *changed, folder=run.parent, timeout=300)
    assert done.returncode == 1
    assert "no network of space" in done.stderr
    assert ((run / "stages.json").read_text(), (run / "recipe.json").read_text()) == before
    assert (run / "search" / "front.json").exists()


def test_shared_weights_that_rank_wrongly_are_not_searched_with(tmp_path: Path) -> None:
    gated = [one for one in ALONE if "ranking" not in one and "train.epochs" not in one]
    gated += ["search.gate=1", "train.epochs=1", "measure.fit_networks=5", "measure.check_networks=3"]
    gated += ["audit.networks=8", "audit.workers=1", "audit.finetune_epochs=0", "measure.seconds_each=0.02"]
    done = quarry("run", "digits", "--out", "run", *settings(*gated), folder=tmp_path, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "under the 1 of search.gate: networks are ranked alone instead" in done.stdout
    steps = [StepRecord.from_json(line) for line in read_lines(tmp_path / "run" / "compress" / "steps.jsonl")]
    assert not {step.step for step in steps} & {"finetune", "retrain"}
    page = (tmp_path / "run" / "report.html").read_text()
    assert "The race" in page
    assert "Training" in page


def test_what_needs_shared_weights_is_refused(run: Path) -> None:
    for command in (["train"], ["audit"]):
        done = quarry(*command, "--out", "run", folder=run.parent, timeout=120)
        assert done.returncode == 1
        assert "share no weights" in done.stderr


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (("minutes=0.5",), "are too few: an epoch of the smallest network takes"),
        (('compress.steps=["finetune"]',), "make up for shared weights"),
        (('search.ranking="shared"', "minutes=10"), 'minutes are for search.ranking = "alone"'),
        (("search.latency_ms=0.000001",), "no network of space"),
        (("search.gate=0.5",), 'gate is for search.ranking = "shared"'),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path: Path, changed: tuple[str, ...], said: str) -> None:
    done = quarry("run", "digits", "--out", "run", *settings(*ALONE, *changed), folder=tmp_path, timeout=400)
    assert done.returncode == 1
    assert said in done.stderr
