"""A step is kept only where it pays; a killed run goes on after its last recorded step."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from compress.candidate import Candidate, Context
from compress.decision import Trial, choose, is_faster, judge_accuracy, judge_speed
from compress.onnx.file import OnnxFile
from compress.onnx.verify import verify
from compress.run import run_steps
from compress.steps import Finetune, Prune, Quantize
from results.files import read_lines
from tests.compress.networks import EXAMPLE, digits_network, images


@dataclass(frozen=True)
class Interval:
    median_ms: float
    low_ms: float
    high_ms: float


def around(median_ms: float, width_ms: float = 0.02) -> Interval:
    return Interval(median_ms, median_ms - width_ms / 2, median_ms + width_ms / 2)


def trial(before: float, after: float, accuracy_before: float = 0.9, accuracy_after: float = 0.9) -> Trial:
    return Trial(
        before=around(before),
        after=around(after),
        accuracy_before=accuracy_before,
        accuracy_after=accuracy_after,
    )


LIMITS = {"best_accuracy": 0.9, "tolerance": 0.01, "noise": 0.02}


def test_faster_means_beyond_interval_and_noise():
    assert is_faster(around(1.0), around(0.9), 0.02)
    assert not is_faster(around(1.0, 0.2), around(0.9, 0.2), 0.02)  # the intervals overlap
    assert not is_faster(around(1.0, 0.001), around(0.99, 0.001), 0.02)  # below the noise
    assert not is_faster(around(1.0), around(1.1), 0.02)


@pytest.mark.parametrize(
    ("one", "kept", "reason"),
    [
        (trial(1.0, 0.5), True, "2.00 times as fast (1.000 to 0.500 ms)"),
        (trial(1.0, 0.5, accuracy_after=0.89), True, "accurate enough (90.00% to 89.00%)"),
        (trial(1.0, 0.5, accuracy_after=0.88), False, "2.00 points below the best, 1.00 are allowed"),
        (trial(1.0, 1.0), False, "no faster beyond the noise: 1.000 ms [0.990, 1.010] before"),
        (trial(1.0, 1.5), False, "slower: "),
    ],
)
def test_a_step_for_speed_says_why(one, kept, reason):
    verdict = judge_speed(one, **LIMITS)
    assert verdict.kept is kept
    assert reason in verdict.reason


def test_losses_add_up_against_the_best_network():
    one = trial(1.0, 0.5, accuracy_before=0.895, accuracy_after=0.887)  # 0.8 points here, 1.3 in all
    assert not judge_speed(one, **LIMITS).kept


def test_a_step_for_accuracy_needs_more_of_it():
    assert judge_accuracy(trial(1.0, 1.0, 0.9, 0.91)).reason == "more accurate: 90.00% to 91.00%"
    assert not judge_accuracy(trial(1.0, 0.5, 0.9, 0.9)).kept


def test_the_fastest_acceptable_proposal_is_chosen_and_accuracy_breaks_ties():
    trials = [
        trial(1.0, 0.3, accuracy_after=0.5),
        trial(1.0, 0.5, accuracy_after=0.895),
        trial(1.0, 0.51, accuracy_after=0.9),
        trial(1.0, 0.7, accuracy_after=0.9),
    ]
    verdicts = [judge_speed(one, **LIMITS) for one in trials]
    assert [verdict.kept for verdict in verdicts] == [False, True, True, True]
    assert choose(trials, verdicts, for_speed=True) == 2
    assert choose(trials[:1], verdicts[:1], for_speed=True) == 0  # reported, not kept
    assert choose([], [], for_speed=True) is None


@dataclass(frozen=True, kw_only=True)
class Scripted:
    """A step whose file says what it will be measured at, and whose weights say that it ran."""

    name: str
    median_ms: float = 0.0
    accuracy: float = 0.0
    for_speed: bool = True
    problem: str = ""

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:  # noqa: ARG002
        if self.problem:
            raise ValueError(self.problem)
        network = nn.Conv2d(1, 2, 1)
        network.load_state_dict(current.network.state_dict())
        with torch.no_grad():
            network.weight += 1
        file = folder / "scripted.json"
        file.write_text(json.dumps([self.median_ms, self.accuracy]))
        return [replace(current, network=network, file=file, label=self.name)]


def scripted_context(**changes: object) -> Context:
    """Start: 1 ms at 90 %; a scripted file as it says."""

    def read(path: Path) -> list[float]:
        try:
            return json.loads(path.read_bytes())
        except ValueError:
            return [1.0, 0.9]

    context = Context(
        example=torch.zeros(1, 1, 4, 4),
        finetune=lambda network, _: network,
        accuracy=lambda path: read(path)[1],
        latency_ms=lambda paths: [around(read(path)[0]) for path in paths],
        macs=lambda network: sum(p.numel() for p in network.parameters()),
        calibration=np.zeros((8, 1, 4, 4), np.float32),
        tolerance=0.02,
    )
    return replace(context, **changes)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder where the network compression begins with is exported already."""
    folder = tmp_path_factory.mktemp("begun")
    network = nn.Conv2d(1, 2, 1)
    run_steps("net", network, [], scripted_context(), folder=folder, log=folder / "steps.jsonl")
    return folder, network


STEPS = [
    Scripted(name="better", median_ms=1.0, accuracy=0.95, for_speed=False),
    Scripted(name="lossy", median_ms=0.5, accuracy=0.9),
    Scripted(name="useless", problem="there is nothing to cut"),
    Scripted(name="good", median_ms=0.4, accuracy=0.935),
]


def _copy(begun, tmp_path: Path):
    folder, network = begun
    place = tmp_path / "net" / "0_start"
    place.mkdir(parents=True)
    for path in (folder / "0_start").iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    return tmp_path / "net", network, tmp_path / "steps.jsonl"


def test_what_does_not_pay_is_undone_with_its_reason(begun, tmp_path):
    folder, network, log = _copy(begun, tmp_path)
    seen = []
    result = run_steps(
        "net", network, STEPS, scripted_context(), folder=folder, log=log, progress=seen.append
    )
    assert [(record.step, record.kept) for record in result.steps] == [
        ("better", True),
        ("lossy", False),
        ("useless", False),
        ("good", True),
    ]
    assert "5.00 points below the best, 2.00 are allowed" in result.steps[1].reason
    assert result.steps[2].reason == "there is nothing to cut"
    assert result.steps[2].latency_ms_after is None
    assert result.steps[3].accuracy_before == 0.95  # of what was kept, not of what was tried last
    assert tuple(seen) == result.steps
    assert torch.equal(result.network.weight, network.weight + 2)  # two steps kept
    assert json.loads(result.file.read_text()) == [0.4, 0.935]
    assert not list(folder.glob("*.tried"))
    assert sorted(path.name for path in folder.iterdir()) == ["0_start", "1_better", "4_good"]


def test_a_file_that_the_device_does_not_run_undoes_its_step(begun, tmp_path):
    folder, network, log = _copy(begun, tmp_path)

    def latency(paths):
        if len(paths) > 1:
            raise ValueError("int8 is not among the precisions of this device")
        return [around(1.0)]

    (record,) = run_steps(
        "net", network, STEPS[3:], scripted_context(latency_ms=latency), folder=folder, log=log
    ).steps
    assert not record.kept
    assert record.reason == "int8 is not among the precisions of this device"
    assert record.latency_ms_before == 1.0
    assert record.latency_ms_after is None


@pytest.mark.parametrize("killed_after", [0, 1, 2, 3, 4])
def test_a_killed_run_ends_as_it_would_have(begun, tmp_path, killed_after):
    folder, network, log = _copy(begun, tmp_path)
    calls = 0

    class Killed(BaseException):
        pass

    def latency(paths):
        nonlocal calls
        if calls == killed_after:
            raise Killed
        calls += 1
        return scripted_context().latency_ms(paths)

    if killed_after < 4:
        with pytest.raises(Killed):
            run_steps("net", network, STEPS, scripted_context(latency_ms=latency), folder=folder, log=log)
    repeated = []

    def counted(paths):
        repeated.append(len(paths))
        return scripted_context().latency_ms(paths)

    again = run_steps("net", network, STEPS, scripted_context(latency_ms=counted), folder=folder, log=log)
    assert len(repeated) == len(STEPS) - killed_after if killed_after < 4 else True
    assert [line["step"] for line in read_lines(log)] == [step.name for step in STEPS]
    assert torch.equal(again.network.weight, network.weight + 2)
    assert json.loads(again.file.read_text()) == [0.4, 0.935]


def test_other_steps_than_the_logged_ones_are_refused(begun, tmp_path):
    folder, network, log = _copy(begun, tmp_path)
    run_steps("net", network, STEPS[:1], scripted_context(), folder=folder, log=log)
    with pytest.raises(ValueError, match="has the steps better for net, but good were asked for"):
        run_steps("net", network, STEPS[3:], scripted_context(), folder=folder, log=log)
    with pytest.raises(ValueError, match="need different names, got good, good"):
        run_steps("net", network, STEPS[3:] * 2, scripted_context(), folder=folder, log=log)


def test_damaged_weights_are_named(begun, tmp_path):
    folder, network, log = _copy(begun, tmp_path)
    weights = folder / "0_start" / "network.safetensors"
    weights.write_bytes(weights.read_bytes()[:20])
    with pytest.raises(ValueError, match=r"network\.safetensors does not hold the weights .* delete"):
        run_steps("net", network, STEPS, scripted_context(), folder=folder, log=log)


def test_real_steps_on_a_real_network_survive_a_restart(tmp_path):
    """Every step for speed accepted: what comes out is the pruned network, in int8, also after a restart."""
    network = digits_network()
    speed = iter(0.8**index for index in range(100))

    def finetune(module: nn.Module, seed: int) -> nn.Module:
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(1.01)
        return module

    context = scripted_context(
        example=EXAMPLE,
        finetune=finetune,
        accuracy=lambda path: float(np.isfinite(OnnxFile(path)(images(4))).all()),
        latency_ms=lambda paths: [around(next(speed), 1e-9) for _ in paths],
        calibration=images(64),
    )
    steps = [Finetune(), Prune(), Quantize(operators=("convolutions",))]
    arguments = {"folder": tmp_path / "net", "log": tmp_path / "steps.jsonl"}
    result = run_steps("net", network, steps, context, **arguments)
    assert [record.kept for record in result.steps] == [False, True, True]
    pruned = result.steps[1]
    assert pruned.params_after is not None
    assert pruned.params_after < 0.35 * pruned.params_before
    assert result.steps[2].size_bytes_after < 0.9 * result.steps[2].size_bytes_before
    record = verify(result.file, result.network, (images(100), np.zeros(100)))
    assert record.max_difference < 0.2 * record.logit_scale
    again = run_steps("net", network, steps, context, **arguments)
    assert again.steps == result.steps
    assert again.file == result.file
    assert torch.equal(again.network(EXAMPLE), result.network.eval()(EXAMPLE))
