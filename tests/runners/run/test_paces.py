"""The paces of a forecast are what a few pieces took, on the part of the space that a limit will leave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.costs.counts.analytic import AnalyticCosts
from nas.costs.layers.sums import layers_of
from results.timing import Timing
from runners.reading.load import load_recipe
from runners.run import paces as module
from runners.run.paces import Pacing, paces_of, trained_part
from runners.run.spaces import measure_plan
from search_spaces.spaces.presets import preset
from tests.runners.stages.test_recovery import compressing
from tests.runners.training.test_loop import tiny_space

SPACE = preset("digits", classes=10, input_shape=(1, 8, 8))


def test_what_is_under_the_limit_stays_and_the_largest_is_within_four_times() -> None:
    size = AnalyticCosts(SPACE).macs
    bound = 1 / 12 * float(size(SPACE.to_row(SPACE.largest())[None])[0])
    part = trained_part(SPACE, size, bound, seed=0)
    assert size(SPACE.to_row(part.largest())[None])[0] <= 4 * bound
    rows = SPACE.sample(500, np.random.default_rng(1))
    kept = {choice.name: set(choice.values) for choice in part.choices}
    under = [SPACE.to_arch(row) for row in rows[size(rows) <= bound]]
    inside = [all(value in kept[name] for name, value in arch.items()) for arch in under]
    assert np.mean(inside) > 0.98  # it is known from a sample


class Slow:
    """A device on which an export takes 2 s, a measurement 3 s more than it measures, a run half a second."""

    def __init__(self, facts: Any) -> None:
        self.facts, self.now = facts, 100.0

    def export(self, *_: Any, **__: Any) -> None:
        self.now += 2.0

    def measure(self, files: Sequence[Path], *, budget_s: float) -> list[Timing]:
        self.now += 3.0 + budget_s
        return [Timing(median_ms=1.0, low_ms=1.0, high_ms=1.0, repeats=9) for _ in files]

    def run(self, *_: Any) -> None:
        self.now += 0.5


def test_pieces_are_timed_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "seconds_per_epoch", lambda *_, rule=None, **__: 7.0 if rule else 1.5)
    monkeypatch.setattr(module, "finetuning_pace", lambda *_, **__: 2.5)
    work = compressing(tmp_path)
    target: Any = Slow(work.target.facts)
    recipe = load_recipe("digits", ['search.searchers=["random"]', "search.budget=12"])
    found = paces_of(
        Pacing(
            space=tiny_space(),
            data=work.data,
            target=target,
            forms=("fp32",),
            plan=measure_plan(recipe),
            recipe=recipe,
            device=work.device,
            clock=lambda: target.now,
        )
    )
    assert (found.export_s, found.layer_s, found.run_s) == ({"fp32": 2.0}, 2.0, 0.5)
    assert found.layers == len(layers_of(tiny_space(), 0).probes)
    assert (found.epoch_s, found.alone_s, found.further_s) == (7.0, 1.5, 2.5)
    assert found.start_s == pytest.approx(3.0)
    assert list(found.ask_s) == ["random"]
