"""A step is kept only where it pays; a killed run goes on after its last recorded step."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import spectral_norm, weight_norm

from compress.candidate import Candidate, Context
from compress.decision import (
    Comparison,
    choose,
    decide_by_accuracy,
    decide_by_size,
    decide_by_speed,
    is_faster,
)
from compress.failure import UnusableError
from compress.onnx.verify import verify
from compress.run import run_steps
from compress.saved import last_kept
from compress.steps import STEPS, Finetune, Prune, Quantize, QuantizeAware, Retrain
from compress.target import OperatorTime
from results.files import read_lines
from results.timing import Timing, not_measured
from tests.compress.networks import EXAMPLE, digits_network, images
from tests.compress.targets import FACTS, FakeTarget, around, context


def compared(
    before: float, after: float, accuracy_before: float = 0.9, accuracy_after: float = 0.9
) -> Comparison:
    return Comparison(
        before=around(before),
        after=around(after),
        accuracy_before=accuracy_before,
        accuracy_after=accuracy_after,
        size_before=1000,
        size_after=900,
    )


def test_where_the_size_counts_slower_files_are_kept_if_they_are_smaller_and_accurate_enough():
    by_size = partial(decide_by_size, best_accuracy=0.9, tolerance=0.01)
    slower = compared(1.0, 2.0)
    assert by_size(slower).kept
    assert by_size(slower).reason == "smaller (1,000 to 900 bytes) and accurate enough (90.00% to 90.00%)"
    assert not by_size(replace(slower, size_after=1000)).kept
    assert "2.00 points below the best" in by_size(compared(1.0, 2.0, accuracy_after=0.88)).reason
    smallest = [slower, replace(slower, size_after=800), replace(compared(1.0, 0.1), size_after=850)]
    assert choose(smallest, [by_size(one) for one in smallest], for_speed=True, by_size=True) == 1


LIMITS = {"best_accuracy": 0.9, "tolerance": 0.01, "noise": 0.02}


def test_faster_means_beyond_interval_and_noise():
    assert is_faster(around(1.0), around(0.9), 0.02)
    assert not is_faster(around(1.0, 0.2), around(0.9, 0.2), 0.02)  # the intervals overlap
    assert not is_faster(around(1.0, 0.001), around(0.99, 0.001), 0.02)  # below the noise
    assert not is_faster(around(1.0), around(1.1), 0.02)


@pytest.mark.parametrize(
    ("one", "kept", "reason"),
    [
        (compared(1.0, 0.5), True, "2.00 times as fast (1.000 to 0.500 ms)"),
        (compared(1.0, 0.5, accuracy_after=0.89), True, "accurate enough (90.00% to 89.00%)"),
        (compared(1.0, 0.5, accuracy_after=0.88), False, "2.00 points below the best, 1.00 are allowed"),
        (compared(1.0, 1.0), False, "no faster beyond the noise: 1.000 ms [0.990, 1.010] before"),
        (compared(1.0, 1.5), False, "slower: "),
    ],
)
def test_a_step_for_speed_says_why(one, kept, reason):
    decision = decide_by_speed(one, **LIMITS)
    assert decision.kept is kept
    assert reason in decision.reason


def test_losses_add_up_against_the_best_network():
    one = compared(1.0, 0.5, accuracy_before=0.895, accuracy_after=0.887)  # 0.8 points here, 1.3 in all
    assert not decide_by_speed(one, **LIMITS).kept


def test_a_step_for_accuracy_needs_more_of_it():
    assert decide_by_accuracy(compared(1.0, 1.0, 0.9, 0.91)).reason == "more accurate: 90.00% to 91.00%"
    assert not decide_by_accuracy(compared(1.0, 0.5, 0.9, 0.9)).kept


def test_the_fastest_acceptable_candidate_is_chosen_and_accuracy_breaks_ties():
    several = [
        compared(1.0, 0.3, accuracy_after=0.5),
        compared(1.0, 0.5, accuracy_after=0.895),
        compared(1.0, 0.51, accuracy_after=0.9),
        compared(1.0, 0.7, accuracy_after=0.9),
    ]
    decisions = [decide_by_speed(one, **LIMITS) for one in several]
    assert [decision.kept for decision in decisions] == [False, True, True, True]
    assert choose(several, decisions, for_speed=True) == 2
    assert choose(several[:1], decisions[:1], for_speed=True) == 0  # reported, not kept
    assert choose([], [], for_speed=True) is None


@dataclass(frozen=True, kw_only=True)
class Scripted:
    """A step whose file says what it will be measured at, and whose weights say that it ran."""

    median_ms: float = 0.0
    accuracy: float = 0.0
    for_speed: bool = True
    does: Callable[[], None] = lambda: None

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        self.does()
        network = nn.Conv2d(1, 2, 1)
        network.load_state_dict(current.network.state_dict())
        with torch.no_grad():
            network.weight += 1
        file = context.file(folder, "scripted")
        file.write_text(json.dumps([self.median_ms, self.accuracy]))
        return [replace(current, network=network, file=file, label=f"{self.median_ms} ms")]


def raising(error: BaseException) -> Callable[[], None]:
    def raise_it() -> None:
        raise error

    return raise_it


def told(path: Path) -> list[float]:
    """Latency and accuracy of a file: as a scripted one says; 1 ms at 90 % for a real one."""
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        return [1.0, 0.9]


def scripted_target(**changes: Any) -> FakeTarget:
    target = FakeTarget(
        latency=lambda file: around(told(file)[0]), outputs=lambda file, images: np.array([told(file)[1]])
    )
    return replace(target, **changes)


def scripted(**changes: Any) -> Context:
    return context(**({"target": scripted_target()} | changes))


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder where the network compression begins with is exported already."""
    folder = tmp_path_factory.mktemp("begun")
    network = nn.Conv2d(1, 2, 1)
    run_steps("net", network, [], scripted(), folder=folder, log=folder / "steps.jsonl")
    return folder, network


SCRIPT = [
    Scripted(median_ms=1.0, accuracy=0.95, for_speed=False),
    Scripted(median_ms=0.5, accuracy=0.9),
    Scripted(does=raising(ValueError("there is nothing to cut"))),
    Scripted(median_ms=0.4, accuracy=0.935),
]
NAMES = ["scripted", "scripted-2", "scripted-3", "scripted-4"]


def _copy(begun, tmp_path: Path):
    folder, network = begun
    place = tmp_path / "net" / "0_start"
    place.mkdir(parents=True)
    for path in (folder / "0_start").iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    return tmp_path / "net", network, tmp_path / "steps.jsonl"


def test_what_does_not_pay_is_undone_with_its_reason(begun, tmp_path):
    folder, network, log = _copy(begun, tmp_path)
    seen, begun_steps = [], []
    result, records = run_steps(
        "net",
        network,
        SCRIPT,
        scripted(),
        folder=folder,
        log=log,
        begin=begun_steps.append,
        progress=seen.append,
    )
    assert begun_steps == NAMES
    assert [(record.step, record.kept) for record in records] == list(
        zip(NAMES, [True, False, False, True], strict=True)
    )
    assert "5.00 points below the best, 2.00 are allowed" in records[1].reason
    assert records[2].reason == "there is nothing to cut"
    assert records[2].latency_ms_after is None
    assert records[3].accuracy_before == 0.95  # of what was kept, not of what was tried last
    assert tuple(seen) == records
    assert torch.equal(result.network.weight, network.weight + 2)  # two steps kept
    assert json.loads(result.file.read_text()) == [0.4, 0.935]
    assert not list(folder.glob("*.tried"))
    assert sorted(path.name for path in folder.iterdir()) == ["0_start", "1_scripted", "4_scripted-4"]
    again = last_kept(network, scripted().example, folder, records)
    assert again.file == result.file
    assert torch.equal(again.network.weight, result.network.weight)


def test_a_file_that_the_target_does_not_run_undoes_its_step(begun, tmp_path):
    folder, network, log = _copy(begun, tmp_path)

    def latency(file: Path) -> Timing:
        return not_measured("unsupported", "no such operator") if "scripted" in file.name else around(1.0)

    target = scripted_target(latency=latency)
    _, (record,) = run_steps("net", network, SCRIPT[3:], scripted(target=target), folder=folder, log=log)
    assert not record.kept
    assert record.reason == "0.4 ms does not run on the target: no such operator"
    assert record.latency_ms_before == 1.0
    assert record.latency_ms_after is None


def test_a_network_that_the_target_does_not_run_is_an_error_and_not_a_reason(begun, tmp_path):
    folder, network, log = _copy(begun, tmp_path)
    target = scripted_target(latency=lambda file: not_measured("failed", "out of memory"))
    with pytest.raises(UnusableError, match=r"model\.onnx does not run on target 'here': out of memory"):
        run_steps("net", network, SCRIPT, scripted(target=target), folder=folder, log=log)


def test_a_network_that_cannot_be_counted_is_told_by_name_and_the_cause_is_kept(tmp_path):
    def counted(network: nn.Module) -> int:
        raise KeyError("no such operator")

    folder, log = tmp_path / "net", tmp_path / "steps.jsonl"
    with pytest.raises(UnusableError, match="net cannot be compressed: failed: 'no such operator'") as told:
        run_steps("net", nn.Conv2d(1, 2, 1), SCRIPT, scripted(macs=counted), folder=folder, log=log)
    assert isinstance(told.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ZeroDivisionError("float division by zero"), "failed: float division by zero (ZeroDivisionError)"),
        (RuntimeError("CUDA out of memory"), "failed: CUDA out of memory (RuntimeError)"),
        (AssertionError(), "failed: no message (AssertionError)"),
        (FileNotFoundError("mask.npz"), "failed: mask.npz (FileNotFoundError)"),
    ],
)
def test_whatever_a_step_raises_costs_that_step_alone(begun, tmp_path, error, reason):
    folder, network, log = _copy(begun, tmp_path)
    steps = [SCRIPT[0], Scripted(does=raising(error)), SCRIPT[3]]
    result, records = run_steps("net", network, steps, scripted(), folder=folder, log=log)
    assert [record.kept for record in records] == [True, False, True]
    assert records[1].reason == reason
    assert json.loads(result.file.read_text()) == [0.4, 0.935]


def test_whatever_running_a_candidate_raises_costs_its_step_alone(begun, tmp_path):
    folder, network, log = _copy(begun, tmp_path)

    def outputs(file: Path, _: object) -> np.ndarray:
        if told(file)[0] == 0.5:
            raise KeyError("/stage1/MatMul")
        return np.array([told(file)[1]])

    target = scripted_target(outputs=outputs)
    _, records = run_steps("net", network, SCRIPT, scripted(target=target), folder=folder, log=log)
    assert records[1].reason == "failed: '/stage1/MatMul' (KeyError)"
    assert records[3].kept


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_and_ctrl_c_end_the_run_which_goes_on_from_there(begun, tmp_path, error):
    folder, network, log = _copy(begun, tmp_path)
    broken = [SCRIPT[0], Scripted(does=raising(error)), SCRIPT[3]]
    with pytest.raises(type(error)):
        run_steps("net", network, broken, scripted(), folder=folder, log=log)
    assert [line["step"] for line in read_lines(log)] == NAMES[:1]
    steps = [SCRIPT[0], SCRIPT[1], SCRIPT[3]]
    _, records = run_steps("net", network, steps, scripted(), folder=folder, log=log)
    assert [record.kept for record in records] == [True, False, True]


def test_what_a_step_needs_of_the_target_is_its_reason_elsewhere(begun, tmp_path):
    folder, network, log = _copy(begun, tmp_path)
    facts = replace(FACTS, profile="server", format="pt2", precisions=("fp32",))
    place = folder / "0_start"
    (place / "model.onnx").rename(place / "model.pt2")
    shape = place / "candidate.json"
    shape.write_text(shape.read_text().replace("model.onnx", "model.pt2"))
    steps = [Quantize(), QuantizeAware(), SCRIPT[3]]
    result, records = run_steps(
        "net", network, steps, scripted(target=scripted_target(facts=facts)), folder=folder, log=log
    )
    assert [record.step for record in records] == ["quantize", "quantize_aware", "scripted"]
    assert records[0].reason == "quantize needs int8 and onnx; target 'server' takes pt2 files in fp32"
    assert records[1].reason.startswith("quantize_aware needs int8 and onnx")
    assert result.file.name == "model.pt2"


def test_an_undone_step_for_speed_says_where_the_time_went(begun, tmp_path):
    folder, network, log = _copy(begun, tmp_path)

    def times(file: Path) -> tuple[OperatorTime, ...]:
        return (
            OperatorTime(operator="Softmax", nodes=1, latency_ms=0.9 if "scripted" in file.name else 0.2),
        )

    slow = [Scripted(median_ms=2.0, accuracy=0.9), Scripted(median_ms=2.0, accuracy=0.9, for_speed=False)]
    target = scripted_target(times=times)
    _, records = run_steps("net", network, slow, scripted(target=target), folder=folder, log=log)
    assert records[0].why[0] == "Softmax takes 0.900 ms where it took 0.200 ms"
    assert records[1].why == ()


def test_two_steps_of_one_kind_have_two_names_and_a_place_each(begun, tmp_path):
    folder, network, log = _copy(begun, tmp_path)
    faster = [Scripted(median_ms=latency, accuracy=0.9) for latency in (0.9, 0.8, 0.7)]
    result, records = run_steps("net", network, faster, scripted(), folder=folder, log=log)
    assert [record.step for record in records] == NAMES[:3]
    assert result.file == folder / "3_scripted-3" / "model.onnx"


@pytest.mark.parametrize("killed_after", [0, 1, 3])
def test_a_killed_run_ends_as_it_would_have(begun, tmp_path, killed_after):
    folder, network, log = _copy(begun, tmp_path)

    def killing() -> None:
        if len(list(read_lines(log))) == killed_after:
            raise Killed

    steps = [replace(step, does=killing) if index != 2 else step for index, step in enumerate(SCRIPT)]
    with pytest.raises(Killed):
        run_steps("net", network, steps, scripted(), folder=folder, log=log)
    assert [line["step"] for line in read_lines(log)] == NAMES[:killed_after]
    again, _ = run_steps("net", network, SCRIPT, scripted(), folder=folder, log=log)
    assert [line["step"] for line in read_lines(log)] == NAMES
    assert torch.equal(again.network.weight, network.weight + 2)
    assert json.loads(again.file.read_text()) == [0.4, 0.935]


def test_other_steps_than_the_logged_ones_are_refused(begun, tmp_path):
    folder, network, log = _copy(begun, tmp_path)
    run_steps("net", network, SCRIPT[:1], scripted(), folder=folder, log=log)
    with pytest.raises(
        ValueError, match="has the steps scripted for net, but finetune were asked for; delete "
    ) as error:
        run_steps("net", network, [Finetune()], scripted(), folder=folder, log=log)
    assert str(error.value).endswith(f"delete {folder} and {log} to compress again")


class Killed(BaseException):
    """A kill: nothing that handles errors sees it."""


def test_what_a_kill_left_unrecorded_is_never_delivered(begun, tmp_path, monkeypatch):
    """A step is kept and saved, the kill comes before its record, and the second try is undone."""
    folder, network, log = _copy(begun, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("compress.run.append_line", lambda *_: raising(Killed())())
        with pytest.raises(Killed):
            run_steps("net", network, [SCRIPT[3]], scripted(), folder=folder, log=log)
    stale = folder / "1_scripted" / "candidate.json"
    assert stale.exists()
    assert torch.equal(last_kept(network, scripted().example, folder, ()).network.weight, network.weight)
    slower = Scripted(median_ms=1.2, accuracy=0.95)
    _, records = run_steps("net", network, [slower], scripted(), folder=folder, log=log)
    assert not records[0].kept
    assert not stale.exists()
    delivered = last_kept(network, scripted().example, folder, records)
    assert delivered.file == folder / "0_start" / "model.onnx"


def test_no_network_to_deliver_is_said_with_its_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="0_start holds no compressed network"):
        last_kept(nn.Conv2d(1, 2, 1), scripted().example, tmp_path, ())


def test_another_network_than_the_folder_was_begun_with_is_refused(begun, tmp_path):
    folder, network, log = _copy(begun, tmp_path)
    other = nn.Conv2d(1, 2, 1)
    other.load_state_dict(network.state_dict())
    with torch.no_grad():
        other.bias.mul_(1 + 1e-7)  # rounding is no other network
    run_steps("net", other, [], scripted(), folder=folder, log=log)
    with torch.no_grad():
        other.bias += 0.01
    with pytest.raises(ValueError, match="of another network than the net given: bias differs") as error:
        run_steps("net", other, SCRIPT, scripted(), folder=folder, log=log)
    assert str(error.value).endswith(f"delete {folder} and {log} to compress again")


def test_a_candidate_that_cannot_be_counted_costs_its_step_alone(begun, tmp_path):
    folder, network, log = _copy(begun, tmp_path)

    def macs(counted: nn.Module) -> int:
        if torch.equal(counted.weight, network.weight + 2):
            raise RuntimeError("no count")
        return 7

    asked = scripted(macs=macs)
    result, records = run_steps("net", network, SCRIPT, asked, folder=folder, log=log)
    assert [record.kept for record in records] == [True, False, False, False]
    assert records[3].reason == "failed: no count (RuntimeError)"
    assert [(record.macs_before, record.macs_after) for record in records] == [
        (7, 7),
        (7, None),
        (7, None),
        (7, None),
    ]
    assert torch.equal(result.network.weight, network.weight + 1)


def test_an_explanation_that_fails_costs_nothing(begun, tmp_path):
    folder, network, log = _copy(begun, tmp_path)
    slow = [Scripted(median_ms=2.0, accuracy=0.9)]
    target = scripted_target(times=lambda file: raising(KeyError("Softmax"))())
    _, (record,) = run_steps("net", network, slow, scripted(target=target), folder=folder, log=log)
    assert record.reason.startswith("slower: ")
    assert record.why == ()


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("norm", [weight_norm, spectral_norm])
def test_networks_whose_weights_a_hook_computes_are_compressed(tmp_path, norm):
    """They hold a weight with a history, which torch refuses to copy."""
    network = nn.Sequential(norm(nn.Conv2d(1, 2, 1))).eval()
    network(torch.ones(1, 1, 4, 4))
    assert not network[0].weight.is_leaf
    accuracies = iter((0.5, 0.6))
    asked = context(score=lambda outputs: next(accuracies))
    arguments = {"folder": tmp_path / "net", "log": tmp_path / "steps.jsonl"}
    result, (record,) = run_steps("net", network, [Finetune()], asked, **arguments)
    assert record.kept, record.reason
    again, _ = run_steps("net", network, [Finetune()], asked, **arguments)
    example = torch.ones(1, 1, 4, 4)
    torch.testing.assert_close(again.network.eval()(example), result.network.eval()(example))


def test_damaged_shape_is_named_with_the_field(begun, tmp_path):
    folder, network, log = _copy(begun, tmp_path)
    shape = folder / "0_start" / "candidate.json"
    shape.write_text(shape.read_text().replace('"cuts": []', '"cuts": [{"root": 3}]'))
    with pytest.raises(
        ValueError, match=r"candidate\.json is damaged \(CandidateRecord\.cuts\[0\] lacks .* delete"
    ):
        run_steps("net", network, [], scripted(), folder=folder, log=log)


def test_damaged_weights_are_named(begun, tmp_path):
    folder, network, log = _copy(begun, tmp_path)
    weights = folder / "0_start" / "network.safetensors"
    weights.write_bytes(weights.read_bytes()[:20])
    with pytest.raises(ValueError, match=r"network\.safetensors does not hold the weights .* delete"):
        run_steps("net", network, SCRIPT, scripted(), folder=folder, log=log)


def test_real_steps_on_a_real_network_survive_a_restart(tmp_path):
    """Every step for speed accepted: what comes out is the pruned network, in int8, also after a restart."""
    network = digits_network()
    speed = iter(0.8**index for index in range(100))
    trained = []

    def finetune(module: nn.Module, *, seed: int, epochs: int | None = None) -> nn.Module:
        trained.append(epochs)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(1.01)
        return module

    def retrain(*, seed: int, epochs: int | None = None, taught: bool = False) -> nn.Module:
        trained.append(epochs)
        return digits_network()

    asked = context(
        target=FakeTarget(latency=lambda file: around(next(speed), 1e-9)),
        example=EXAMPLE,
        images=images(4),
        score=lambda outputs: float(np.isfinite(outputs).all()),
        finetune=finetune,
        retrain=retrain,
        calibration=images(64),
    )
    steps = [
        Finetune(epochs=3),
        Retrain(epochs=5),
        Prune(keep=0.5),
        Retrain(),
        Quantize(operators=("convolutions",)),
    ]
    arguments = {"folder": tmp_path / "net", "log": tmp_path / "steps.jsonl"}
    result, records = run_steps("net", network, steps, asked, **arguments)
    assert [record.step for record in records] == ["finetune", "retrain", "prune", "retrain-2", "quantize"]
    assert [record.kept for record in records] == [False, False, True, False, True]
    assert trained == [3, 5, None]
    assert "that was cut or had operators exchanged; put retrain before prune" in records[3].reason
    assert records[2].params_after is not None
    assert records[2].params_after < 0.35 * records[2].params_before
    assert records[4].size_bytes_after < 0.9 * records[4].size_bytes_before
    checked = verify(result.file, result.network, (images(100), np.zeros(100)))
    assert checked.max_difference < 0.2 * checked.logit_scale
    again, repeated = run_steps("net", network, steps, asked, **arguments)
    assert repeated == records
    assert again.file == result.file
    assert again.precision == "int8"
    assert torch.equal(again.network(EXAMPLE), result.network.eval()(EXAMPLE))


def test_nothing_to_cut_is_a_reason_and_names_what_cannot_be_cut(tmp_path):
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 10)).eval()
    asked = scripted(example=torch.zeros(2, 1, 4, 4))
    _, (record,) = run_steps(
        "net", network, [Prune(keep=0.5)], asked, folder=tmp_path / "net", log=tmp_path / "steps.jsonl"
    )
    assert record.reason == (
        "no group of channels has a smaller allowed count (allowed: multiples of 16) near 50% of what it "
        "has; 1 that cannot be cut (3: they are the network's outputs)"
    )


def test_a_step_from_outside_has_its_registered_name(begun, tmp_path):
    folder, network, log = _copy(begun, tmp_path)

    @STEPS.register("toy")
    @dataclass(frozen=True, kw_only=True)
    class Toy(Scripted):
        for_speed: ClassVar[bool] = True

    step = STEPS.configured("toy", {"median_ms": 0.5, "accuracy": 0.95})()
    _, (record,) = run_steps("net", network, [step], scripted(), folder=folder, log=log)
    assert (record.step, record.kept) == ("toy", True)
