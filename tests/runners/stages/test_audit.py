"""An audit as it runs: on a tiny space of the digits, stopped and continued, on Ray, and with bad input."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas.costs.counts.analytic import AnalyticCosts
from nas.costs.counts.sizes import macs_of
from nas.ranking import spread
from results.files import read_json, read_lines, write_json
from results.records import AuditSummary, Preprocessing
from runners.data.splits import Prepare
from runners.run.sequence import audit, start
from runners.scoring.auditor import AuditPlan
from runners.stages import audit as stage
from runners.stages.audit import audit_warning
from runners.tasks import Binary
from runners.training.settings import TrainSettings
from search_spaces.space import SearchSpace
from tests.spaces import SPACES

SPACE = str(Path(__file__).parents[2] / "end_to_end" / "small_space.py")
TRAIN = (
    f"space.module={SPACE}:small",
    "measure.profile=mcu",
    "measure.fit_networks=5",
    "measure.check_networks=3",
    "train.epochs=1",
    "search.calibration_images=64",
    "search.latency_ms=1000",  # the profile rules out layers of the largest network, so no speed-up over it
    "data.test_fraction=0.5",
)
AUDIT = ("audit.networks=4", "audit.workers=1", "audit.finetune_epochs=1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("audit") / "run"
    start("digits", out, TRAIN, None, last="train")
    return out


@pytest.fixture(scope="module")
def audited(trained: Path) -> AuditSummary:
    """The audit of an uninterrupted run."""
    assert "not audited" in str(audit_warning(trained))
    audit(trained, AUDIT)
    return AuditSummary.from_json(read_json(trained / "audit" / "audit.json"))


def numbers(summary: AuditSummary) -> list[tuple[object, ...]]:
    return [
        (n.name, n.macs, n.inherited_val, n.inherited_test, n.finetuned_test, n.alone_val, n.alone_test)
        for n in summary.networks
    ]


def test_an_audit_judges_both_ends_and_tells(
    trained: Path, audited: AuditSummary, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [network.name for network in audited.networks] == ["smallest", "network-2", "network-3", "largest"]
    assert audited.epochs == 1
    assert not (trained / "audit" / "checkpoints").exists()
    assert "audit" in read_json(trained / "stages.json")
    before = (trained / "audit" / "networks.jsonl").read_bytes()
    audit(trained, AUDIT)  # nothing is left to do, and it says the same
    assert (trained / "audit" / "networks.jsonl").read_bytes() == before
    assert "4 were done before" in capsys.readouterr().out


def test_a_stopped_audit_goes_on_and_ends_the_same(
    trained: Path,
    audited: AuditSummary,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = trained / "audit" / "networks.jsonl"
    append: Callable[..., None] = stage.append_line

    def stopped(path: Path, line: object) -> None:
        append(path, line)
        if len(list(read_lines(path))) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(stage, "append_line", stopped)
        with pytest.raises(KeyboardInterrupt):
            audit(trained, [*AUDIT, "audit.epochs=1"])  # written out: other settings, the same audit
    assert f"what was made before is kept in {trained / 'earlier' / '1'}" in capsys.readouterr().out
    kept = log.read_bytes()
    audit(trained, [])
    assert log.read_bytes().startswith(kept)
    assert len(list(read_lines(log))) == 4
    again = AuditSummary.from_json(read_json(trained / "audit" / "audit.json"))
    assert numbers(again) == numbers(audited)


def test_ray_workers_find_what_one_process_finds(trained: Path, audited: AuditSummary) -> None:
    (trained / "audit" / "networks.jsonl").unlink()
    audit(trained, ["audit.workers=2"])
    found = numbers(AuditSummary.from_json(read_json(trained / "audit" / "audit.json")))
    for here, there in zip(numbers(audited), found, strict=True):
        assert here[:2] == there[:2]
        # Workers compute on one thread, where sums are rounded in another order.
        assert here[2:] == pytest.approx(there[2:], abs=0.04)


def test_more_networks_add_to_those_that_were_judged(
    trained: Path, audited: AuditSummary, capsys: pytest.CaptureFixture[str]
) -> None:
    audit(trained, AUDIT)
    audit(trained, ["audit.networks=6"])
    assert "training 6 networks alone, 1 epochs each; 4 were done before" in capsys.readouterr().out
    summary = AuditSummary.from_json(read_json(trained / "audit" / "audit.json"))
    assert [n.name for n in summary.networks][::5] == ["smallest", "largest"]
    assert {str(n.arch) for n in audited.networks} < {str(n.arch) for n in summary.networks}
    audit(trained, AUDIT)
    assert len(list(read_lines(trained / "audit" / "networks.jsonl"))) == 6


def test_networks_that_were_trained_otherwise_are_judged_anew(
    trained: Path, audited: AuditSummary, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    recipe = read_json(run / "recipe.json")
    recipe["compress"]["recovery"]["learning_rate"] /= 2  # as quarry compress --set leaves it
    write_json(run / "recipe.json", recipe)
    capsys.readouterr()
    audit(run, AUDIT)
    assert "done before" not in capsys.readouterr().out


def test_what_tells_networks_apart_and_does_not(tmp_path: Path) -> None:
    settings = TrainSettings(
        epochs=1,
        batch_size=8,
        learning_rate=0.1,
        warmup_epochs=0.0,
        weight_decay=0.0,
        label_smoothing=0.0,
        gradient_clip=1.0,
        average_decay=0.0,
    )
    plan = AuditPlan(
        alone=settings,
        further=settings,
        teacher_weight=0.5,
        temperature=1.0,
        prepare=Prepare(preprocessing=Preprocessing(channels=1, height=8, width=8, mean=(0.0,), std=(1.0,))),
        mix=None,
        seed=0,
        checkpoints=tmp_path,
    )
    other = replace(plan, further=replace(settings, layer_decay=0.7))
    assert plan.fingerprint == "5e3fe80322fbb7b5"  # of audits from before there were settings of the task
    others = (other, replace(plan, balance=0.7), replace(plan, task=Binary()))
    assert len({one.fingerprint for one in (plan, *others)}) == 4


def test_a_search_is_warned_of_what_was_not_audited(
    trained: Path, audited: AuditSummary, tmp_path: Path
) -> None:
    for name in ("train", "audit"):
        (tmp_path / name).mkdir()
    weights = tmp_path / "train" / "supernet.safetensors"
    weights.write_bytes((trained / "train" / "supernet.safetensors").read_bytes())

    def write(low: float) -> None:
        found = audited.to_json()
        estimate = {"value": 0.9, "low": low, "high": 1.0}
        found["ranking"]["tau"] = found["ranking"]["spearman"] = estimate
        (tmp_path / "audit" / "audit.json").write_text(json.dumps(found))

    write(low=0.8)
    assert audit_warning(tmp_path) is None
    write(low=0.1)
    assert "wrong order" in str(audit_warning(tmp_path))
    weights.write_bytes(b"another")
    assert "another supernet" in str(audit_warning(tmp_path))
    (tmp_path / "audit" / "audit.json").write_text("{")
    assert "cannot be read" in str(audit_warning(tmp_path))


def test_what_cannot_be_audited_is_said(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"audit.networks = 3.*4"):
        audit(trained, ["audit.networks=3"])
    with pytest.raises(ValueError, match="there is no run"):
        audit(tmp_path / "nothing", [])


def test_a_full_disk_ends_an_audit_and_lines_of_others_are_told(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        if os.fstat(handle).st_size > 20_000:  # room for the small files, none for a network's checkpoint
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left on device") as error:
            audit(trained, [*AUDIT, "audit.seed=5"])
        assert error.value.errno == errno.ENOSPC
    log = trained / "audit" / "networks.jsonl"
    log.write_text('{"supernet": "another"}\n[]\n')
    with pytest.raises(ValueError, match=r"networks.jsonl holds lines that no audit wrote"):
        audit(trained, [])


@pytest.mark.parametrize("name", ["digits", "resnet"])
def test_networks_are_spread_over_the_sizes_and_differ(name: str) -> None:
    space = SPACES[name]()
    size = macs_of(AnalyticCosts(space), seed=0)
    rows = spread(space, size, 12, seed=0)
    assert len(np.unique(rows, axis=0)) == 12
    assert (space.canonical(rows) == rows).all()
    places = np.log(size(rows))
    assert (np.diff(places) >= 0).all()
    assert np.diff(places).max() < 0.35 * np.ptp(places)
    assert (rows == spread(space, size, 12, seed=0)).all()
    assert not (rows == spread(space, size, 12, seed=1)).all()
    more = {row.tobytes() for row in spread(space, size, 30, seed=0)}
    assert all(row.tobytes() in more for row in rows)


def test_a_space_is_not_asked_for_more_than_it_holds() -> None:
    space = SPACES["digits"]()
    few = SearchSpace("few", space.choices[:2], build=space.build)
    with pytest.raises(ValueError, match="holds 9"):
        spread(few, lambda rows: rows.sum(axis=1) + 1.0, 10, seed=0)
    rows = spread(few, lambda rows: rows.sum(axis=1) + 1.0, 9, seed=0)
    assert len(np.unique(rows, axis=0)) == 9


@pytest.mark.parametrize("name", ["digits", "resnet"])
def test_a_space_of_one_arch_builds_that_network_alone(name: str) -> None:
    space = SPACES[name]()
    for row in space.sample(5, np.random.default_rng(0)):
        arch = space.to_arch(row)
        only = space.only(arch)
        assert only.size == 1
        assert only.largest() == arch
        shapes = [(key, value.shape) for key, value in space.build(arch).state_dict().items()]
        assert [(key, value.shape) for key, value in only.build(arch).state_dict().items()] == shapes
