"""The judge's logic: candidates, epochs for a budget, what is charged, what the lines say."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from results.files import append_line
from results.records import Card, read_record
from runners.cli.app import app
from runners.reading.load import load_recipe
from tests.benchmarks.by_hand import __main__ as program
from tests.benchmarks.by_hand import judge
from tests.benchmarks.by_hand.candidates import Measured, candidates
from tests.benchmarks.by_hand.cost import CommandError, Cost, run_costed
from tests.benchmarks.by_hand.families import members
from tests.benchmarks.by_hand.hand import Job, Trained, epochs_for, training_macs, work
from tests.benchmarks.by_hand.lines import Line, Lines
from tests.benchmarks.by_hand.picture import picture
from tests.benchmarks.by_hand.quarry import best, command
from tests.benchmarks.by_hand.quarry import training_macs as told_macs
from tests.benchmarks.by_hand.setting import Setting
from tests.benchmarks.by_hand.table import table
from tests.benchmarks.settings import keep
from tests.results.report.finished_run import write_finished_run

SETTING = Setting(data="digits", recipe="digits", limits_ms=(0.1, 1.0), minutes=10, cores=2)
BURN = "import time\nwhile time.process_time() < {}: pass\n"


def measured(family: str, name: str, macs: float, latency_ms: float, precision: str = "fp32") -> Measured:
    return Measured(
        family=family,
        name=name,
        precision=precision,
        macs=macs,
        latency_ms=latency_ms,
        high_ms=1.01 * latency_ms,
        making_s=1.0,
    )


def line(side: str, seed: int, accuracy: float, *, limit_ms: float = 0.1, cpu_s: float = 600.0) -> Line:
    return Line(
        side=side,
        limit_ms=limit_ms,
        seed=seed,
        network="net",
        accuracy=accuracy,
        test_images=10_000,
        latency_ms=0.9 * limit_ms,
        low_ms=0.89 * limit_ms,
        high_ms=0.91 * limit_ms,
        cpu_s=cpu_s,
        wall_s=300.0,
        budget_s=600.0,
        training_macs=None if side == "Quarry" else 2e12,
        epochs=None,
        file="net.onnx",
    )


# -- by hand -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8)])
def test_families_have_small_and_large_members_that_run(shape):
    found = members(shape)
    assert len({one.name for one in found}) == len(found)
    assert len({one.family for one in found}) == 6
    for family in sorted({one.family for one in found}):
        own = [one for one in found if one.family == family]
        sizes = []
        for member in own[:2] + own[-1:]:
            network = member.make(shape, 10).eval()
            assert network(torch.zeros(2, *shape)).shape == (2, 10), member.name
            sizes.append(sum(parameter.numel() for parameter in network.parameters()))
        assert len(set(sizes)) == 3, family


def test_a_candidate_is_the_most_capable_that_meets_the_limit():
    known = [
        measured("a", "small", 1e6, 0.05),
        measured("a", "large", 5e6, 0.099),
        measured("a", "larger but just too slow", 9e6, 0.101),
        measured("a", "int8", 9e6, 0.09, "int8"),
        measured("b", "slow", 1e6, 0.2),
        measured("c", "slower with fewer", 1e6, 0.09),
        measured("c", "faster with more", 2e6, 0.08),
    ]
    assert [one.name for one in candidates(known, "fp32", 0.1)] == ["large", "faster with more"]
    assert [one.name for one in candidates(known, "int8", 0.1)] == ["int8"]
    assert candidates(known, "fp32", 0.01) == []


def test_the_epochs_use_up_the_budget():
    assert epochs_for(1000, spent_s=20, after_s=30, epoch_s=9.5) == 100
    assert epochs_for(100, spent_s=0, after_s=0, epoch_s=8) == 12
    with pytest.raises(ValueError, match="30 processor seconds for a limit are too few .* 61 would do"):
        epochs_for(30, spent_s=10, after_s=1, epoch_s=50)


def test_limits_share_the_budget():
    assert SETTING.budget_s == 10 * 60 * 2 / 2


def test_macs_of_a_training_are_those_of_whole_batches_three_times():
    assert training_macs(1e6, images=1000, epochs=4) == 3 * 1e6 * 7 * 128 * 4


def test_by_hand_from_families_to_lines_and_on_again(tmp_path, monkeypatch):
    """Screened, trained, exported and judged on digits, in the computed latencies of the profile mcu."""
    recipe = tmp_path / "mcu.toml"
    shipped = Path("runners/recipe/digits.toml").read_text()
    recipe.write_text(shipped.replace('profile = "cpu-ort"', 'profile = "mcu"'))
    setting = replace(SETTING, recipe=str(recipe), limits_ms=(3.0,), cores=1)
    trained: list[Job] = []

    def train(setting, member, seed, budget_s, epochs, cores, folder, name) -> tuple[Trained, Cost]:
        job = Job(
            setting=setting,
            folder=str(folder),
            member=member,
            seed=seed,
            budget_s=None,
            epochs=1,
            stem=str(folder / member.name),
        )
        trained.append(replace(job, budget_s=budget_s))
        return work(job), Cost(cpu_s=7.0, wall_s=8.0)

    few = [one for one in members((1, 8, 8)) if one.name in ("resnet-s2-w8-d1", "convnext-p2-w8-d1")]
    monkeypatch.setattr("tests.benchmarks.by_hand.candidates.members", lambda shape: few)
    monkeypatch.setattr(judge, "_train", train)

    def run(seeds: int) -> list[Line]:
        judge.by_hand(
            setting,
            seeds=range(seeds),
            screen_epochs=1,
            families=(),
            columns=("fp32", "int8"),
            cores=[0],
            folder=tmp_path,
        )
        return Lines(tmp_path).all()

    (first,) = run(1)
    known = [Measured.from_json(json.loads(text)) for text in (tmp_path / "members.jsonl").open()]
    assert {one.precision for one in known} == {"fp32", "int8"}
    assert (first.side, first.seed, first.cpu_s, first.test_images) == ("by hand, int8", 0, 7.0, 359)
    assert first.budget_s == 600
    assert first.latency_ms <= 3.0
    assert first.accuracy > 0.15
    assert [job.budget_s for job in trained] == [None, None, 600]  # two screened, one trained
    assert (
        first.network == max(candidates(known, "int8", 3.0), key=lambda one: scores(tmp_path)[one.name]).name
    )
    assert [one.seed for one in run(2)] == [0, 1]
    assert [job.budget_s for job in trained][3:] == [600]  # nothing that was done is done again
    keep(setting, tmp_path)
    judge.measured_again(tmp_path)
    lines = Lines(tmp_path)
    assert (len(lines.all()), len(lines.latest())) == (4, 2)
    assert lines.latest() == lines.all()[:2]  # a computed latency does not change


def scores(folder: Path) -> dict[str, float]:
    lines = [json.loads(text) for text in (folder / "screening.jsonl").open()]
    return {one["key"][0]: one["validation"] for one in lines}


# -- cost ----------------------------------------------------------------------------------------------


def test_cost_counts_children_and_children_of_these(tmp_path):
    run = f"subprocess.run([sys.executable, '-c', {BURN.format(0.5)!r}])"
    child = f"import subprocess, sys\n{BURN.format(0.4)}{run}"
    cost = run_costed([sys.executable, "-c", child], cores=_cores(), log=tmp_path / "log.txt")
    assert 0.9 <= cost.cpu_s < 1.5
    assert cost.wall_s >= 0.8


def test_cost_counts_whose_parent_is_gone_and_whose_parent_does_not_wait(tmp_path):
    """As Ray's workers are, whose raylet ignores their end: ``time`` would not count them."""
    ignoring = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        f"subprocess.Popen([sys.executable, '-c', {BURN.format(1.5) + 'time.sleep(1.5)'!r}])\n"
    )
    # Waiting works even so, but tells nothing: the kernel has cleared the child away by then.
    until_all_ended = "try:\n    os.wait()\nexcept ChildProcessError:\n    pass"
    waits = [sys.executable, "-c", ignoring + until_all_ended]
    assert 1.4 <= run_costed(waits, cores=_cores(), log=tmp_path / "log.txt").cpu_s < 2.5
    leaves = [sys.executable, "-c", ignoring]
    assert 1.5 <= run_costed(leaves, cores=_cores(), log=tmp_path / "log.txt").cpu_s < 2.5


def test_a_command_that_fails_says_its_last_words(tmp_path):
    log = tmp_path / "deep" / "log.txt"
    with pytest.raises(CommandError, match="ended with 3: no data"):
        run_costed(
            [sys.executable, "-c", "print('no data', flush=True); raise SystemExit(3)"],
            cores=_cores(),
            log=log,
        )


def _cores() -> list[int]:
    from runners.measuring.machine import cores

    return cores()


# -- Quarry ----------------------------------------------------------------------------------------------


def test_quarry_hands_over_the_most_accurate_on_validation_that_meets_the_limit(tmp_path):
    write_finished_run(tmp_path)
    cards = {file.parent.name: read_record(Card, file) for file in tmp_path.glob("artifacts/*/card.json")}
    assert len(cards) >= 2
    fastest = min(cards.values(), key=lambda card: card.latency.measured_ms)
    top = max(cards.values(), key=lambda card: card.accuracy.validation)
    assert fastest.name != top.name
    assert best(tmp_path, 10.0)[0].name == top.name
    assert best(tmp_path, fastest.latency.measured_ms)[0].name == fastest.name
    assert best(tmp_path, 1e-6)[0].name == fastest.name  # none meets it
    with pytest.raises(ValueError, match="no artifact"):
        best(tmp_path / "measure", 1.0)


def test_quarry_run_is_called_with_limit_minutes_and_seed(tmp_path):
    words = command(SETTING, 0.1, 5.0, 2, ["search.ranking=alone"], tmp_path)
    after = words[words.index("run") :]
    assert after[:2] == ["run", "digits"]
    assert after[after.index("--minutes") + 1] == "5"
    assert after[after.index("--seed") + 1] == "2"
    keys = [after[place + 1] for place, word in enumerate(after) if word == "--set"]
    assert keys == ["data.source=digits", "search.latency_ms=0.1", "search.workers=2", "search.ranking=alone"]


def test_the_call_is_one_that_quarry_takes(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("runners.run.sequence.start", lambda *given, **more: seen.append(given))
    words = command(SETTING, 0.1, 5.0, 2, ["search.ranking=alone"], tmp_path)
    app(words[words.index("run") :], standalone_mode=False)
    ((name, out, overrides, seed),) = seen
    recipe = load_recipe(name, overrides, seed)
    assert (recipe.search.latency_ms, recipe.minutes, recipe.seed, out) == (0.1, 5, 2, tmp_path)


def test_macs_of_networks_trained_alone_are_summed(tmp_path):
    assert told_macs(tmp_path, 1000) is None
    for macs, epochs in ((1e6, 2), (3e6, 5)):
        append_line(tmp_path / "search" / "race.jsonl", {"macs": macs, "epochs": epochs, "rung": 0})
    assert told_macs(tmp_path, 1000) == 3 * 1000 * (2e6 + 15e6)


# -- what the lines say ------------------------------------------------------------------------------------


def test_the_table_tells_means_intervals_and_paired_differences():
    lines = [line("Quarry", seed, value) for seed, value in enumerate((0.84, 0.85, 0.86))]
    lines += [line("by hand", seed, value) for seed, value in enumerate((0.82, 0.83, 0.84))]
    lines += [line("by hand, int8", 0, 0.8, cpu_s=700)]
    text = table(lines)
    rows = [row for row in text.splitlines() if row.startswith("| 0.1 ms")]
    assert [row.split(" | ")[1] for row in rows] == ["by hand", "by hand, int8", "Quarry"]
    # Student's t with two degrees of freedom, 4.303, times 1 point over the root of 3.
    assert "83.00% (80.52% to 85.48%, 3 seeds)" in rows[0]
    assert "80.00% (one seed)" in rows[1]
    assert "700 of 600" in rows[1]
    assert "not told" in rows[2]
    assert "2" in rows[0].rsplit("|", 2)[1]
    assert "Quarry minus by hand: +2.00 points (+2.00 to +2.00, 3 seeds, paired)" in text
    assert "Quarry minus by hand, int8: +4.00 points (one seed)" in text
    assert "by hand, int8 spent 117% of its budget" in text
    assert table([]) == "there are no results yet"


def test_the_picture_is_an_svg_with_every_side():
    lines = [
        line(side, seed, accuracy + seed / 100, limit_ms=limit_ms)
        for side, accuracy in (("by hand", 0.8), ("Quarry", 0.83))
        for limit_ms in (0.05, 0.5)
        for seed in range(2)
    ]
    drawn = ElementTree.fromstring(picture(lines))
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    texts = {one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {"by hand", "Quarry"} <= texts
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}circle"))) == 4


# -- bad input -----------------------------------------------------------------------------------------------


def test_a_folder_keeps_one_setting(tmp_path):
    keep(SETTING, tmp_path)
    keep(SETTING, tmp_path)
    with pytest.raises(ValueError, match="has results for minutes 10.*take another --out"):
        keep(replace(SETTING, minutes=20), tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["/nowhere", "--minutes", "1"], "/nowhere does not exist"),
        (["digits", "--minutes", "1", "--recipe", "digist"], "digits"),
        (["digits", "--minutes", "1", "--cores", "999"], "this process may use"),
        (["digits", "--minutes", "1", "--recipe", "digits", "--families", "ResNet"], "ResNet, stem stride"),
        (["digits", "--minutes", "0"], "not more than 0"),
        (["digits"], "give DATA and --minutes"),
        (["digits", "--minutes", "1", "--label", "by hand"], "by hand's name"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.setattr(sys, "argv", ["by_hand", *words, "--out", str(tmp_path / "out"), "--side", "hand"])
    began = time.monotonic()
    with pytest.raises(SystemExit) as stopped:
        program.main()
    assert message in f"{stopped.value}{capsys.readouterr().err}"
    assert time.monotonic() - began < 60
