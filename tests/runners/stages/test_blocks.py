"""Ranking block by block, on a tiny space of the digits and a computed device: choice, going on, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from nas.blockwise.spans import spans
from nas.costs.layers.probes import layer_probes
from nas.costs.layers.sums import layers_of
from nas.costs.model.fit import MeasurePlan
from nas.costs.model.latency import LatencyModel
from results.files import read_lines
from results.records import BlockErrors, BlocksPlan, Raced, SearchSummary, read_record
from runners.console import Console
from runners.reading.load import load_recipe
from runners.run import teaching
from runners.run.directory import RunDirectory
from runners.run.sequence import start
from runners.run.teaching import teacher_arch
from runners.run.wiring import Wiring
from runners.run.work import in_time
from runners.stages import blocks as stage
from runners.stages.blocks import check_blocks
from search_spaces.choice import Choice
from search_spaces.layer import Layer, Slot
from search_spaces.space import SearchSpace
from search_spaces.spaces.metaformer import Stage, metaformer
from tests.end_to_end.tiny_space import tiny
from tests.spaces import resnet_space

SPACE = str(Path(__file__).parents[2] / "end_to_end" / "tiny_space.py")
LIMIT_MS = 0.55
ARGUMENTS = (
    f"space.module={SPACE}:tiny",
    "measure.profile=mcu",
    "measure.fit_networks=5",
    "measure.check_networks=3",
    "train.epochs=2",
    "search.ranking=blockwise",
    f"search.latency_ms={LIMIT_MS}",
    "search.calibration_images=64",
    "search.workers=1",
    "data.test_fraction=0.6",
    "blockwise.epochs=3",
    "blockwise.networks=4",
    "race.epochs=1",
    "race.keep=4",
    "race.finalists=1",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("blocks") / "run"
    start("digits", out, ARGUMENTS, None, last="search")
    return out


def learned(run: Path) -> dict[str, BlockErrors]:
    lines = [BlockErrors.from_json(line) for line in read_lines(run / "search" / "blocks.jsonl")]
    return {one.place: one for one in lines}


def raced(run: Path) -> list[Raced]:
    return [Raced.from_json(line) for line in read_lines(run / "search" / "race.jsonl")]


def test_what_is_trained_alone_has_the_least_error_of_all_that_meet_the_limit(run: Path) -> None:
    """Of all networks of the space, with the errors of their blocks added up in a loop."""
    opened = RunDirectory(run, None, "test")
    made = Wiring(opened, Console(run / "log.txt"))
    space, errors = made.space, learned(run)
    opened.close()
    rows = space.enumerate()
    rows = rows[made.costs(made.models)(rows)["latency_ms_upper"] <= LIMIT_MS]

    def error(row: Any) -> float:
        total = 0.0
        for span in spans(space):
            if span.name in errors:
                found = errors[span.name].errors[int(span.standing[tuple(row[list(span.columns)])])]
                total += math.inf if found is None else found
        return total

    assert 10 < len(rows) < space.size
    first = [one for one in raced(run) if not one.rung]
    assert len({repr(sorted(one.arch.items())) for one in first}) == 4
    assert all(one.latency_ms <= LIMIT_MS for one in first)
    best = sorted(map(error, rows))
    assert sorted(error(space.to_row(one.arch)) for one in first) == pytest.approx(best[:4])
    assert best[0] < best[-1]


def test_the_best_of_them_is_trained_to_the_end(run: Path) -> None:
    assert [one.epochs for one in raced(run)] == [4, 4, 4, 4, 2]  # as a second round, then the recipe's
    (last,) = (one for one in raced(run) if one.rung)
    summary = read_record(SearchSummary, run / "search" / "front.json")
    assert [one.arch for one in summary.front] == [last.arch]
    assert not (run / "train").exists()


def test_a_run_that_was_stopped_learns_only_what_is_missing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append: Callable[..., None] = stage.append_line

    def stopped(file: Path, line: object) -> None:
        append(file, line)
        if len(list(read_lines(file))) == 2:
            raise KeyboardInterrupt

    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(stage, "append_line", stopped)
        with pytest.raises(KeyboardInterrupt):
            start("digits", out, ARGUMENTS, None, last="search")
    teacher = (out / "search" / "teacher.safetensors").read_bytes()
    monkeypatch.setattr(stage, "train_alone", None)  # the teacher is there
    start("digits", out, ARGUMENTS, None, last="search")
    assert (out / "search" / "teacher.safetensors").read_bytes() == teacher
    before, after = learned(run), learned(out)
    assert {name: one.errors for name, one in after.items()} == {
        name: one.errors for name, one in before.items()
    }
    assert [one.arch for one in raced(out)] == [one.arch for one in raced(run)]


def model(space: SearchSpace) -> LatencyModel:
    """A latency of a millisecond for a million multiply-accumulates, known for certain."""
    layers = layers_of(space, 0)
    correction = SimpleNamespace(
        layers_ms=lambda each, *_: each, after={}, ms_per_spilled_byte=0.0, offset_ms=0.0
    )
    found: Any = SimpleNamespace(
        layers=layers,
        layer_ms=space.layer_macs / 1e6,
        correction=correction,
        lower_share=1.0,
        upper_share=1.0,
    )
    return found


def test_a_teacher_is_as_large_as_something_under_the_limit_is_wide() -> None:
    """By all networks of a space: within four times the limit, and its widths have a network under it."""
    stages = [
        Stage(widths=(8, 32), depths=(1, 2), mixers=("identity", "pooling"), ratios=(1, 4), resolution_step=1)
    ]
    space = metaformer("wide", stages, classes=4, input_shape=(3, 8, 8))
    rows = space.enumerate()
    ms = space.sum_over_layers(rows, space.layer_macs) / 1e6
    wide = rows[:, space.column["stage0.width"]] == 1
    least = float(ms[wide].min())
    for limit_ms, width in ((2 * least, 32), (0.9 * least, 8)):
        arch = teacher_arch(space, [model(space)], limit_ms)
        assert arch["stage0.width"] == width
        own = ms[(rows == space.to_row(arch)).all(axis=1)][0]
        allowed = ms[(wide == (width == 32)) & (ms <= 4 * limit_ms)]
        assert own == pytest.approx(allowed.max())
    with pytest.raises(ValueError, match="takes 1e-09 ms or less"):
        teacher_arch(space, [model(space)], 1e-9)


def test_a_space_without_blocks_is_refused_before_work() -> None:
    with pytest.raises(ValueError, match=r'"blockwise": .*only builds its networks.*Rank "alone" instead'):
        check_blocks(resnet_space())
    stages = [Stage(widths=(8, 16), depths=(1,), mixers=("identity",), ratios=(1,), resolution_step=1)]
    with pytest.raises(ValueError, match="there is nothing to choose"):
        check_blocks(metaformer("wide", stages, classes=4, input_shape=(3, 8, 8)))


def test_layers_that_do_not_stand_one_after_another_are_refused() -> None:
    def layer(name: str, inputs: int, outputs: int) -> Layer:
        return Layer(
            name=name,
            kind="linear",
            sizes=(("inputs", inputs), ("outputs", outputs)),
            input_shape=(inputs,),
            output_shape=(outputs,),
            make=lambda inputs, outputs: nn.Linear(inputs, outputs),
        )

    slots = [
        Slot(name="first", choices=("width",), layer=lambda arch: layer("first", 4, int(arch["width"]))),
        Slot(name="second", choices=(), layer=lambda _: layer("second", 3, 2)),
    ]
    space = SearchSpace("branched", [Choice("width", (5, 6))], slots=slots, input_shape=(4,))
    with pytest.raises(ValueError, match=r"at 'second' .* do not stand one after another"):
        check_blocks(space)


def test_minutes_say_how_long_teacher_and_blocks_are_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "seconds_per_epoch", lambda *_, **__: 2.0)
    monkeypatch.setattr(stage, "_seconds_per_step", lambda *_: 0.5)
    space = tiny(classes=10, input_shape=(1, 8, 8))
    work: Any = SimpleNamespace(
        space=space,
        teacher=space.largest,
        seed=0,
        device="cpu",
        folder=tmp_path,
        clock=SimpleNamespace(training_s=1000.0),
        recipe=load_recipe("digits", ["search.ranking=blockwise", "minutes=10"]),
        data=SimpleNamespace(splits=SimpleNamespace(train=range(500))),
        training_data=None,
    )
    plan = stage._planned(work)
    assert (plan.epochs, plan.steps) == (100, 200)  # a fifth, and a tenth, of the time
    work.clock = SimpleNamespace(training_s=10.0)
    assert stage._planned(work) == plan  # as it was begun
    assert read_record(BlocksPlan, tmp_path / "blocks.json") == plan


def test_what_takes_too_long_to_prove_costs_no_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    space = tiny(classes=10, input_shape=(1, 8, 8))
    monkeypatch.setattr(teaching, "most_within", lambda *_, **__: None)
    smallest_ms = float(space.sum_over_layers(space.ends, space.layer_macs)[0]) / 1e6
    arch = teacher_arch(space, [model(space)], 1.5 * smallest_ms)
    row = space.to_row(arch)[None]
    assert float(space.sum_over_layers(row, space.layer_macs)[0]) / 1e6 <= 1.5 * smallest_ms
    gaps = []

    def slow(*_: Any, gap: float = 0.0, **__: Any) -> list[str]:
        gaps.append(gap)
        if not gap:
            raise TimeoutError
        return ["solution"]

    monkeypatch.setattr(stage, "solve", slow)
    work: Any = SimpleNamespace(space=space, console=Console(tmp_path / "log.txt"))
    assert stage._exactly(work, [], {}, 2) == ["solution"]
    assert gaps == [0.0, 0.02]
    assert "within 2% of it" in (tmp_path / "log.txt").read_text()


def test_a_table_is_measured_within_its_share_of_the_minutes() -> None:
    space = tiny(classes=10, input_shape=(1, 8, 8))
    plan = MeasurePlan(fit_networks=5, check_networks=3, seconds_each=0.4)
    made: Any = SimpleNamespace(given=space, plan=plan, forms=("fp32", "int8"), clock=None)
    assert in_time(made) is plan
    made.clock = SimpleNamespace(measuring_s=72.0)  # of ten minutes
    n = 2 * (len(layer_probes(space)) + 5 + 2 * 3)
    assert in_time(made).seconds_each == pytest.approx(min(0.4, 36 / n))
    made.clock = SimpleNamespace(measuring_s=1e6)
    assert in_time(made).seconds_each == 0.4


def test_a_recipe_that_makes_no_sense_block_by_block_is_refused() -> None:
    with pytest.raises(ValueError, match="race.sieve orders networks of which nothing is known"):
        load_recipe("digits", ["search.ranking=blockwise", 'race.sieve=["synflow"]'])
    with pytest.raises(ValueError, match="gate is for search.ranking"):
        load_recipe("digits", ["search.ranking=blockwise", "search.gate=0.5"])
