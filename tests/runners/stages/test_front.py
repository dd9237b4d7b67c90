"""The front meets the limit as measured: what is measured, and what replaces what is too slow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nas.predictors.predictor import PredictorReport
from nas.search import search
from results.records import SearchSummary
from results.timing import Timing, not_measured
from runners.console import Console
from runners.stages import front as stage
from runners.stages.compress import chosen_from_front
from runners.stages.front import FrontLooker, luck, measured_front, predictors_of, tell_front
from search_spaces.choice import Choice
from search_spaces.space import Arch, SearchSpace

SPACE = SearchSpace("front", [Choice("width", tuple(range(1, 31)))], build=lambda arch: None)  # type: ignore


def timing(ms: float) -> Timing:
    return Timing(median_ms=ms, low_ms=ms, high_ms=ms, repeats=1)


class Slow:
    """A device on which everything takes ``factor`` times what was predicted."""

    def __init__(self, factor: float) -> None:
        self.factor, self.batches = factor, 0

    @property
    def facts(self) -> Any:
        return SimpleNamespace(profile="here", computed=False, format="onnx", precisions=("fp32",))

    def export(self, module: Any, _shape: Any, path: Path, *, precision: str) -> None:
        path.write_bytes(bytes([module * (1 if precision == "int8" else 2)]))

    def measure(self, files: Sequence[Path], **_: float) -> list[Timing]:
        self.batches += 1
        return [timing(file.read_bytes()[0] / 2 * self.factor) for file in files]


class Network(int):
    def eval(self) -> Network:
        return self


class Costs:
    """Networks that take a millisecond a channel, and half of that in int8 from width 10 on."""

    def __init__(self, *forms: str) -> None:
        self.models: dict[str, Any] = dict.fromkeys(forms)

    def __call__(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        found = [self.in_form(row[None], form) for row, form in zip(rows, self.form(rows), strict=True)]
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]} if found else {}

    def form(self, rows: np.ndarray) -> list[str]:
        forms = list(self.models)
        return [forms[-1] if width + 1 >= 10 else forms[0] for width in rows[:, 0]]

    def in_form(self, rows: np.ndarray, form: str) -> dict[str, np.ndarray]:
        width = rows[:, 0] + 1.0
        latency = width / 2 if form == "int8" else width
        return {"latency_ms": latency, "latency_ms_upper": latency * 1.05, "macs": width, "params": width}


costs = Costs("fp32")


def scored(arch: Arch) -> dict[str, float]:
    return {"accuracy": int(arch["width"]) / 40}


class Evaluator:
    def __init__(self, images: int, lost: float = 0.0) -> None:
        self.labels, self.lost = range(images), lost

    def __call__(self, arch: Arch) -> dict[str, float]:
        return {"accuracy": scored(arch)["accuracy"] - self.lost}


def looking(device: Slow, console: Console, limit_ms: float = 20.0, **changed: Any) -> FrontLooker:
    parts: dict[str, Any] = {
        "name": "r",
        "supernet": SimpleNamespace(space=SPACE, extract=lambda arch: Network(arch["width"])),
        "target": device,
        "costs": costs,
        "seen": Evaluator(200),
        "unseen": Evaluator(100, lost=0.02),
        "limit_ms": limit_ms,
        "confidence": 0.95,
        "console": console,
    }
    return FrontLooker(**parts | changed)


def front_on(device: Slow, log: Path | None = None, costs: Costs = costs) -> SearchSummary:
    found = search(
        SPACE,
        scored,
        objectives={"accuracy": "max", "latency_ms": "min"},
        constraints={"latency_ms": 20.0},
        costs=costs,
        budget=30,
        searcher="exhaustive",
    )
    look = looking(device, Console(log), costs=costs)
    return measured_front(look, {"random": found}, reference=(0.1, 20.0), known_first=0)


def found(ms: float, accuracy: float) -> Any:
    return stage._Found(
        searcher="random",
        arch={"width": int(2 * ms)},
        accuracy=accuracy,
        latency_ms=float(ms),
        upper_ms=float(ms),
    )


def test_a_front_that_measures_as_predicted_is_measured_once() -> None:
    device = Slow(1.0)
    summary = front_on(device)
    assert device.batches == 1
    assert all(entry.meets_limit for entry in summary.front)
    assert max(entry.accuracy for entry in summary.front) == 19 / 40  # 20 has its upper end over the limit
    assert summary.largest.accuracy == 30 / 40
    assert (summary.scored_images, summary.held_back_images) == (200, 100)


def test_networks_of_the_front_are_measured_in_the_form_they_were_found_in(tmp_path: Path) -> None:
    summary = front_on(Slow(1.0), costs=Costs("fp32", "int8"))
    assert {entry.precision for entry in summary.front} == {"fp32", "int8"}
    for entry in summary.front:
        assert entry.precision == ("int8" if int(entry.arch["width"]) >= 10 else "fp32")
        assert entry.measured_ms == entry.predicted_ms, "the file was of that form"
    assert max(int(entry.arch["width"]) for entry in summary.front) == 30
    assert (summary.largest.precision, summary.largest.measured_ms) == ("fp32", 30.0)
    assert SearchSummary.from_json(summary.to_json()) == summary
    tell_front(summary, Console(tmp_path / "log.txt"), computed=False)
    assert "form" in (tmp_path / "log.txt").read_text()


def test_half_of_what_is_measured_lies_near_the_limit() -> None:
    """A front of 20 networks up to the limit, and others behind it that are less accurate by little."""
    front = [found(ms, 0.5 + ms / 100) for ms in range(1, 21)]
    behind = [found(ms + 0.5, 0.5 + ms / 100 - 1e-3) for ms in range(1, 20)]
    chosen = stage._joint_front([*front, *behind], 20.0)
    assert len(chosen) == stage.MEASURED
    assert [one.latency_ms for one in chosen] == sorted(one.latency_ms for one in chosen)
    near = [one for one in chosen if one.latency_ms >= 14.0]
    assert len(near) >= 6
    assert chosen[0].latency_ms == 1.0, "the fast end is there too"
    assert all(one in front for one in chosen)

    few = [one for one in front if one.latency_ms < 10 or one.latency_ms == 19]
    filled = stage._joint_front([*few, *behind], 20.0)
    assert sum(one.latency_ms >= 14.0 for one in filled) == 6, "those behind the front fill up what is near"
    assert stage._joint_front([], 20.0) == []
    assert stage._joint_front([found(25.0, 0.9)], 20.0) == []


def test_where_all_of_the_front_is_too_slow_faster_networks_are_measured() -> None:
    class SlowWhereWide(Slow):
        """As predicted for the narrowest, far over it for what the front's thinning keeps."""

        def measure(self, models: Sequence[bytes], **_: float) -> list[Timing]:
            self.batches += 1
            return [timing(20.5 if self.batches == 1 else 12.0) for _ in models]

    device = SlowWhereWide(1.0)
    summary = front_on(device)
    assert device.batches == 2
    met = [entry for entry in summary.front if entry.meets_limit]
    assert met
    assert any(not entry.meets_limit for entry in summary.front), "what was too slow is marked, not hidden"
    assert len({entry.arch["width"] for entry in summary.front}) == len(summary.front)
    assert len({entry.name for entry in summary.front}) == len(summary.front)


def test_a_largest_network_that_cannot_be_scored_is_named() -> None:
    def fails(arch: Arch) -> dict[str, float]:
        raise RuntimeError("no such operator")

    look = looking(Slow(1.0), Console(), seen=fails)
    with pytest.raises(ValueError, match="the largest network.*no such operator.*trials are kept"):
        measured_front(look, {}, reference=(0.1, 1.0), known_first=0)


def test_where_nothing_meets_the_limit_it_is_said(tmp_path: Path) -> None:
    device = Slow(1000.0)
    summary = front_on(device, tmp_path / "log.txt")
    assert device.batches < 5
    assert not any(entry.meets_limit for entry in summary.front)
    tell_front(summary, Console(tmp_path / "log.txt"), computed=False)
    assert "no network of the front is under the limit of 20 ms" in (tmp_path / "log.txt").read_text()
    with pytest.raises(ValueError, match="no network of the front measures under 20 ms; the fastest takes"):
        chosen_from_front(summary, 1)


class Choosy(Slow):
    """A device that cannot export networks of some widths, and runs those of others not."""

    def __init__(self, *, refused: Sequence[int], failing: Sequence[int]) -> None:
        super().__init__(1.0)
        self.refused, self.failing = refused, failing

    def export(self, module: Any, _shape: Any, path: Path, *, precision: str) -> None:
        if module in self.refused:
            raise KeyError("no such operator")
        super().export(module, _shape, path, precision=precision)

    def measure(self, files: Sequence[Path], **given: float) -> list[Timing]:
        failing = [file.read_bytes()[0] // 2 in self.failing for file in files]
        fine = super().measure(files, **given)
        return [
            not_measured("failed", "it died") if one else ms for one, ms in zip(failing, fine, strict=True)
        ]


def test_a_network_of_the_front_that_fails_costs_itself(tmp_path: Path) -> None:
    summary = front_on(Choosy(refused=[19], failing=[18]), tmp_path / "log.txt")
    widths = [entry.arch["width"] for entry in summary.front]
    assert not {18, 19} & set(widths)
    assert len(widths) > 2
    assert summary.largest is not None
    log = (tmp_path / "log.txt").read_text()
    told = "left out of the front, as their files do not run: {'width': "
    assert f"{told}19}}: failed: 'no such operator' (KeyError)" in log
    assert f"{told}18}}: it died" in log


def test_a_front_does_without_a_largest_network_that_does_not_run(tmp_path: Path) -> None:
    summary = front_on(Choosy(refused=[30], failing=[]), tmp_path / "log.txt")
    assert summary.largest is None
    assert summary.front
    assert luck(summary) == "the front is 2.0 points less accurate on average"
    tell_front(summary, Console(), computed=False)


def test_a_front_of_which_nothing_runs_says_why() -> None:
    with pytest.raises(
        ValueError, match="no network of the front runs on .*no such operator.*trials are kept"
    ):
        front_on(Choosy(refused=range(30), failing=[]))


def test_the_luck_of_the_chosen_is_told_beside_the_largest() -> None:
    assert luck(front_on(Slow(1.0))) == (
        "the front is 2.0 points less accurate on average, the largest network, which nobody chose, "
        "2.0 points less accurate"
    )


def test_the_quality_of_a_predictor_is_that_of_its_last_fit() -> None:
    early = PredictorReport(name="accuracy", archs=20, mean_error=0.04, tau=0.3, interval=0.09)
    late = PredictorReport(name="accuracy", archs=140, mean_error=0.012, tau=0.62, interval=0.031)
    results: Any = {"random": SimpleNamespace(rounds=()), "guided": SimpleNamespace(rounds=(early, late))}
    (found,) = predictors_of(results)
    assert found.summary() == (
        "guided predicted the accuracy of 140 networks that were left out: 1.2 points off on average, "
        "nine of ten within 3.1, rank correlation (tau) 0.62"
    )
