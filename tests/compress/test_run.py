"""A step is kept only where it pays; one that fails costs itself alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import spectral_norm, weight_norm

from compress.failure import UnusableError
from compress.onnx.verify import verify
from compress.run import run_steps
from compress.saved import last_kept
from compress.steps import STEPS, Finetune, Prune, Quantize, QuantizeAware, Retrain
from compress.target import OperatorTime
from results.timing import Timing, not_measured
from tests.compress.networks import EXAMPLE, digits_network, images
from tests.compress.scripted import NAMES, SCRIPT, Scripted, raising, scripted, scripted_target, told
from tests.compress.targets import FACTS, FakeTarget, around, context


def test_what_does_not_pay_is_undone_with_its_reason(begun):
    folder, network, log = begun
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


def test_a_file_that_the_target_does_not_run_undoes_its_step(begun):
    folder, network, log = begun

    def latency(file: Path) -> Timing:
        return not_measured("unsupported", "no such operator") if "scripted" in file.name else around(1.0)

    target = scripted_target(latency=latency)
    _, (record,) = run_steps("net", network, SCRIPT[3:], scripted(target=target), folder=folder, log=log)
    assert not record.kept
    assert record.reason == "0.4 ms does not run on the target: no such operator"
    assert record.latency_ms_before == 1.0
    assert record.latency_ms_after is None


def test_a_network_that_the_target_does_not_run_is_an_error_and_not_a_reason(begun):
    folder, network, log = begun
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
def test_whatever_a_step_raises_costs_that_step_alone(begun, error, reason):
    folder, network, log = begun
    steps = [SCRIPT[0], Scripted(does=raising(error)), SCRIPT[3]]
    result, records = run_steps("net", network, steps, scripted(), folder=folder, log=log)
    assert [record.kept for record in records] == [True, False, True]
    assert records[1].reason == reason
    assert json.loads(result.file.read_text()) == [0.4, 0.935]


def test_whatever_running_a_candidate_raises_costs_its_step_alone(begun):
    folder, network, log = begun

    def outputs(file: Path, _: object) -> np.ndarray:
        if told(file)[0] == 0.5:
            raise KeyError("/stage1/MatMul")
        return np.array([told(file)[1]])

    target = scripted_target(outputs=outputs)
    _, records = run_steps("net", network, SCRIPT, scripted(target=target), folder=folder, log=log)
    assert records[1].reason == "failed: '/stage1/MatMul' (KeyError)"
    assert records[3].kept


def test_what_a_step_needs_of_the_target_is_its_reason_elsewhere(begun):
    folder, network, log = begun
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


def test_an_undone_step_for_speed_says_where_the_time_went(begun):
    folder, network, log = begun

    def times(file: Path) -> tuple[OperatorTime, ...]:
        return (
            OperatorTime(operator="Softmax", nodes=1, latency_ms=0.9 if "scripted" in file.name else 0.2),
        )

    slow = [Scripted(median_ms=2.0, accuracy=0.9), Scripted(median_ms=2.0, accuracy=0.9, for_speed=False)]
    target = scripted_target(times=times)
    _, records = run_steps("net", network, slow, scripted(target=target), folder=folder, log=log)
    assert records[0].why[0] == "Softmax takes 0.900 ms where it took 0.200 ms"
    assert records[1].why == ()


def test_two_steps_of_one_kind_have_two_names_and_a_place_each(begun):
    folder, network, log = begun
    faster = [Scripted(median_ms=latency, accuracy=0.9) for latency in (0.9, 0.8, 0.7)]
    result, records = run_steps("net", network, faster, scripted(), folder=folder, log=log)
    assert [record.step for record in records] == NAMES[:3]
    assert result.file == folder / "3_scripted-3" / "model.onnx"


def test_a_candidate_that_cannot_be_counted_costs_its_step_alone(begun):
    folder, network, log = begun

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


def test_an_explanation_that_fails_costs_nothing(begun):
    folder, network, log = begun
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


def test_a_step_from_outside_has_its_registered_name(begun):
    folder, network, log = begun

    @STEPS.register("toy")
    @dataclass(frozen=True, kw_only=True)
    class Toy(Scripted):
        for_speed: ClassVar[bool] = True

    step = STEPS.configured("toy", {"median_ms": 0.5, "accuracy": 0.95})()
    _, (record,) = run_steps("net", network, [step], scripted(), folder=folder, log=log)
    assert (record.step, record.kept) == ("toy", True)
