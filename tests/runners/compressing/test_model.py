"""A model that is given becomes a front of verified files, again where it was stopped, or says why not."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import results
from compress.candidate import Candidate
from compress.onnx.file import OnnxFile
from results.records import Card, CompressedModel, StepRecord, read_record
from runners.compressing import making as module
from runners.compressing import model
from runners.compressing import scan as scanning
from runners.compressing.goal import Goal, GoalLimits, UnreachableError
from runners.compressing.hand_over import Made
from runners.compressing.model import Compressed, compress_model
from runners.compressing.options import Options
from runners.compressing.scan import Scan, Scanned, next_share

PROFILE = """
name = "computed"
summary = "a processor of constants, for tests"
precisions = ["fp32", "int8"]
[runtime]
kind = "analytic"
macs_per_s = 240e6
bytes_per_s = 40e6
layer_overhead_ms = 0.001
"""


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.two(self.one(x)))


def make() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 64, 3, stride=2, padding=1),
        Residual(64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def options(folder: Path, **more: object) -> Options:
    profile = folder / "computed.toml"
    profile.write_text(PROFILE)
    return Options(
        name="net",
        profile=str(profile),
        input_shape=(1, 8, 8),
        shares=(0.75, 0.5, 0.25),
        networks=1,
        epochs=1,
        calibration_images=32,
        tolerance=0.99,
        device="cpu",
        **more,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compressing")


@pytest.fixture(scope="module")
def done(folder: Path) -> Compressed:
    return compress_model(make(), "digits", Goal(speedup=2), options(folder), out=folder / "out")


def test_a_front_of_verified_files_comes_out_and_the_answer_meets_the_goal(done: Compressed) -> None:
    record = read_record(CompressedModel, done.folder / "compress" / "model.json")
    assert record == done.record
    assert record.met
    files = {one.name: one for one in record.files}
    assert {one.precision for one in record.files} == {"fp32", "int8"}
    assert min(one.share for one in record.files) < 1
    answer = files[record.answer]
    assert answer.latency_ms <= record.original.latency_ms / 2
    named = json.loads((done.folder / "artifacts" / "networks.json").read_text())
    assert set(named) == {one.name for one in record.files if one.handed_over}
    for name in named:
        card = read_record(Card, done.folder / "artifacts" / name / "card.json")
        content = (done.folder / "artifacts" / name / card.file).read_bytes()
        assert card.sha256 == hashlib.sha256(content).hexdigest()
        assert card.limit.met == (not files[name].missed)
        assert card.macs <= record.original.macs
        assert card.latency.measured_ms <= record.original.latency_ms * 1.001, "none is slower"
    page = (done.folder / "report.html").read_text()
    for words in ("meets the goal", "Left as it was", record.answer, "network&#x27;s outputs"):
        assert words in page or words.replace("&#x27;", "'") in page, words
    assert "not finished" not in page


def test_the_answers_file_is_its_network(done: Compressed) -> None:
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        right = done.network.eval()(images).numpy()
    got = OnnxFile(done.file)(images.numpy())
    card = read_record(Card, done.file.with_name("card.json"))
    if card.precision == "fp32":
        assert np.abs(got - right).max() <= 1e-4 * np.abs(right).max()
    assert hashlib.sha256(done.file.read_bytes()).hexdigest() == card.sha256


def test_the_same_again_trains_nothing_and_another_goal_what_is_missing(
    done: Compressed, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    plain = module.run_steps

    def counted(name: str, *rest: object, **more: object) -> object:
        log = more["log"]
        assert isinstance(log, Path)
        before = log.read_text().count("\n") if log.exists() else 0
        found = plain(name, *rest, **more)  # type: ignore[arg-type]
        ran.extend([name] * (log.read_text().count("\n") - before))
        return found

    monkeypatch.setattr(module, "run_steps", counted)
    again = compress_model(make(), "digits", Goal(speedup=2), options(folder), out=done.folder)
    assert not ran
    assert again.record == done.record
    other = compress_model(make(), "digits", Goal(accuracy_drop=60), options(folder), out=done.folder)
    trained = {name.removesuffix("-int8") for name in ran}
    assert len(trained) <= 1
    assert trained.isdisjoint(one.name for one in done.record.files)
    before, now = ({one.name: one for one in found.files} for found in (done.record, other.record))
    assert set(before) <= set(now), "what was trained for the first goal takes part"
    named = {one.name for one in other.record.files if one.handed_over}
    assert {one.name for one in (done.folder / "artifacts").iterdir() if one.is_dir()} == named
    fastest = min((one for one in now.values() if not one.missed), key=lambda one: one.latency_ms)
    assert now[other.record.answer].latency_ms == fastest.latency_ms
    assert results.load(done.folder).card.name == other.record.answer
    (stale := done.folder / "artifacts" / "of-another-goal").mkdir()
    back = compress_model(make(), "digits", Goal(speedup=2), options(folder), out=done.folder)
    assert not stale.exists()
    assert back.record.answer in {done.record.answer, other.record.answer}


def test_the_same_again_after_int8_was_learned_goes_on_too(
    done: Compressed, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = folder / "learned"
    shutil.copytree(done.folder, out)
    with monkeypatch.context() as patched:
        patched.setattr(module, "_lost_too_much", lambda record, **_: True)
        learned = compress_model(make(), "digits", Goal(speedup=2), options(folder), out=out)
    log = (out / "compress" / "steps.jsonl").read_text()
    assert "quantize_aware" in log
    again = compress_model(make(), "digits", Goal(speedup=2), options(folder), out=out)
    assert again.record == learned.record
    assert (out / "compress" / "steps.jsonl").read_text() == log


def test_a_goal_of_the_size_alone_is_met_by_weights_of_few_values(done: Compressed, folder: Path) -> None:
    size_mb = done.record.original.size_bytes / 6 / 1e6
    few = replace(options(folder), shares=(0.75,))
    small = compress_model(make(), "digits", Goal(size_mb=size_mb), few, out=folder / "small")
    assert small.record.answer == "net-palette"
    files = {one.name: one for one in small.record.files}
    assert set(files) == {"net", "net-int8", "net-palette"}, "nothing is cut where it is small enough whole"
    palette = files["net-palette"]
    assert (palette.precision, palette.share) == ("palette", 1.0)
    assert palette.size_bytes < 1e6 * size_mb < files["net-int8"].size_bytes
    limit = read_record(Card, folder / "small" / "artifacts" / "net-palette" / "card.json").limit
    assert (limit.met, limit.broken) == (True, ()), "the device runs floats, which the file is computed in"


@pytest.mark.parametrize(
    ("latency_ms", "size_bytes", "by_size", "worth_it"),
    [(0.5, 50, False, True), (2.0, 50, False, False), (2.0, 50, True, True), (0.5, 200, True, False)],
)
def test_int8_is_learned_only_where_it_would_pay(
    latency_ms: float, size_bytes: int, by_size: bool, worth_it: bool
) -> None:
    record = StepRecord(
        network="net",
        step="quantize",
        kept=False,
        reason="",
        candidate="",
        accuracy_before=0.9,
        accuracy_after=0.8,
        latency_ms_before=1.0,
        latency_ms_after=latency_ms,
        macs_before=1,
        macs_after=1,
        size_bytes_before=100,
        size_bytes_after=size_bytes,
        params_before=1,
        params_after=1,
        seconds=0.0,
    )
    assert module._lost_too_much(record, by_size=by_size) == worth_it
    assert module._lost_too_much(record, by_size=by_size, most=0.4) == (worth_it and by_size), (
        "over the limit"
    )


def test_another_model_in_the_same_folder_is_refused(done: Compressed, folder: Path) -> None:
    other = make()
    nn.init.zeros_(other[4].bias)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="was begun with another model"):
        compress_model(other, "digits", Goal(speedup=2), options(folder), out=done.folder)
    with pytest.raises(ValueError, match="was begun with seed 0 where it is 1 now; choose another folder"):
        compress_model(make(), "digits", Goal(speedup=2), options(folder, seed=1), out=done.folder)


def test_an_edited_profile_does_not_go_on_with_what_was_measured_before(
    done: Compressed, folder: Path
) -> None:
    same = options(folder)
    Path(same.profile).write_text(PROFILE.replace("240e6", "120e6"))
    with pytest.raises(ValueError, match="was begun with another profile; choose another folder"):
        compress_model(make(), "digits", Goal(speedup=2), same, out=done.folder)


def test_a_goal_out_of_reach_is_refused_before_any_training_with_the_nearest(folder: Path) -> None:
    given = make()
    before = {name: value.clone() for name, value in given.state_dict().items()}
    with pytest.raises(
        UnreachableError, match=r"cannot be reached .* nearest is 0.25 of the channels in int8"
    ):
        compress_model(given, "digits", Goal(speedup=1000), options(folder), out=folder / "far")
    assert not (folder / "far" / "compress" / "steps.jsonl").exists()
    assert all(torch.equal(given.state_dict()[name], value) for name, value in before.items())


def test_the_snippet_of_the_page_is_a_call(monkeypatch: pytest.MonkeyPatch, done: Compressed) -> None:
    page = (Path(__file__).parents[3] / "docs" / "compression.md").read_text()
    (snippet,) = [
        one for one in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "compress_model" in one
    ]
    signature = inspect.signature(compress_model)
    called: list[inspect.BoundArguments] = []
    monkeypatch.setattr(
        model, "compress_model", lambda *a, **k: called.append(signature.bind(*a, **k)) or done
    )
    exec(compile(snippet, "compression.md", "exec"), {"network": make()})
    assert called[0].arguments["goal"] == Goal(speedup=1.5)


def test_a_cut_that_is_no_faster_says_nothing_against_smaller_ones(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[float] = []
    monkeypatch.setattr(module.Making, "_cut", lambda _, share: tried.append(share) or [])
    given = replace(options(folder), networks=3)
    compress_model(make(), "digits", Goal(accuracy_drop=1), given, out=folder / "slow")
    assert tried == [0.5, 0.25]


def test_between_the_largest_share_that_is_fast_enough_and_the_next_it_is_looked_closer() -> None:
    files = tuple(
        Scanned(share=share, precision=form, latency_ms=share * factor, size_bytes=1, macs=1)
        for share in (1.0, 0.75, 0.5, 0.25, 0.55)
        for form, factor in (("fp32", 1.0), ("int8", 0.7))
    )
    found = Scan(counts=16, files=files, left=())

    def between(latency_ms: float | None, accuracy: float | None = None) -> dict[str, list[float]]:
        limits = GoalLimits(latency_ms=latency_ms, size_bytes=None, accuracy=accuracy)
        return scanning._between(found, limits, (0.75, 0.5, 0.25))

    closer = [0.5625, 0.625, 0.6875]
    assert between(0.6) == {"fp32": closer, "int8": [0.8125, 0.875, 0.9375]}
    assert between(0.8) == {"fp32": [0.8125, 0.875, 0.9375]}  # int8 of the model as it is does
    assert between(0.2) == {"int8": [0.3125, 0.375, 0.4375]}
    assert not between(None, 0.9)


@pytest.mark.parametrize(
    ("limits", "met"),
    [
        ({"latency_ms": 0.6}, True),
        ({"latency_ms": 0.505}, False),  # by a hair: another measurement may be above
        ({"latency_ms": 0.4}, False),
        ({"latency_ms": 0.6, "accuracy": 0.8}, True),
        ({"latency_ms": 0.6, "accuracy": 0.95}, False),
        ({"size_bytes": 10}, True),
        ({"size_bytes": 9}, False),
        ({"accuracy": 0.8}, False),  # the fastest is wanted
    ],
)
def test_no_more_is_trained_once_a_file_meets_a_limit(
    tmp_path: Path, limits: Mapping[str, float], met: bool
) -> None:
    (tmp_path / "some.onnx").write_bytes(bytes(10))
    candidate = Candidate(network=nn.Identity(), file=tmp_path / "some.onnx")
    made = [
        Made(name="net", share=0.5, candidate=candidate, steps=(), accuracy=0.9, latency_ratio=ratio)
        for ratio in (1.0, 0.25)
    ]
    making = SimpleNamespace(scanned=SimpleNamespace(original=SimpleNamespace(latency_ms=2.0)))
    given = GoalLimits(**{"latency_ms": None, "size_bytes": None, "accuracy": None, **limits})  # type: ignore[arg-type]
    assert module.Making._met(making, made, given) == met  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limits", "tried", "next_one"),
    [
        ({"latency_ms": 0.55}, {}, 0.75),  # as int8; as floats it is 0.5
        ({"latency_ms": 0.55}, {0.75: True}, 0.5),
        ({"latency_ms": 0.55}, {0.75: True, 0.5: True}, 0.25),
        ({"latency_ms": 0.55}, {0.75: True, 0.5: True, 0.25: True}, None),
        ({"latency_ms": 0.53}, {}, 0.5),  # that of 0.75 would meet it by a hair
        ({"latency_ms": 2.0}, {}, 0.5),  # which the model as it is meets
        ({"latency_ms": 0.2}, {0.25: True}, 0.5),
        ({"latency_ms": 0.1}, {}, None),  # nothing meets it
        ({"accuracy": 0.9}, {}, 0.5),
        ({"accuracy": 0.9}, {0.5: True}, 0.25),
        ({"accuracy": 0.9}, {0.5: False}, 0.75),
        ({"accuracy": 0.9}, {0.5: False, 0.75: False}, None),
    ],
)
def test_what_is_trained_next(
    limits: Mapping[str, float], tried: Mapping[float, bool], next_one: float | None
) -> None:
    files = tuple(
        Scanned(share=share, precision=form, latency_ms=share * factor, size_bytes=1, macs=1)
        for share in (1.0, 0.75, 0.5, 0.25)
        for form, factor in (("fp32", 1.0), ("int8", 0.7))
    )
    given = GoalLimits(**{"latency_ms": None, "size_bytes": None, "accuracy": None, **limits})  # type: ignore[arg-type]
    assert next_share(Scan(counts=16, files=files, left=()), given, tried, most=3) == next_one
