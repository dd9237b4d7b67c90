"""What a run cost: what it ran over its images, and not what was known before."""

from __future__ import annotations

from dataclasses import replace

from results.records import Raced, RacePlan, RecipeRecord, RungRecord, SearchSummary, Trial
from results.report.costs import spent_macs
from results.report.sources import Sources

SUMMARY = SearchSummary(
    limit_ms=1.0, confidence=0.95, reference=(0.5, 1.0), front=(), largest=None, scored_images=200
)


def trial(macs: float, worker: str = "here", *, failed: bool = False) -> Trial:
    scores = None if failed else {"accuracy": 0.5}
    return Trial(ticket=0, arch={}, scores=scores, costs={"macs": macs}, worker=worker)


def test_each_network_that_was_scored_ran_over_calibration_and_validation_images() -> None:
    run = Sources(
        name="run",
        recipe=RecipeRecord(settings={"search": {"calibration_images": 500}}),
        summary=SUMMARY,
        trials={
            "random": [trial(10.0), trial(20.0, failed=True)],
            "guided": [trial(30.0), trial(5.0, "known")],
        },
    )
    assert spent_macs(run)["search"] == {"ranking": (10.0 + 30.0) * 700}
    assert spent_macs(Sources(name="run", trials=run.trials))["search"] == {}  # images are not known yet


def test_the_last_round_of_a_race_is_final() -> None:
    one = Raced(
        rung=0, epochs=1, arch={}, precision="fp32", latency_ms=1.0, macs=5, accuracy=0.5, train_loss=1.0,
        seconds=1.0, training_macs=100.0,
    )  # fmt: skip
    plan = RacePlan(
        rungs=(RungRecord(networks=2, epochs=1), RungRecord(networks=1, epochs=9)),
        seconds_per_epoch=1.0,
        workers=1,
        threads=(1, 1),
    )
    raced = [one, one, replace(one, rung=1, training_macs=900.0)]
    run = Sources(name="run", raced=raced, race_plan=plan)
    assert spent_macs(run)["search"] == {"ranking": 200.0, "final": 900.0}
