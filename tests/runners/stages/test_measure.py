"""The measure stage says when what it measures will not be worth much."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nas.costs.model.fit import MeasurePlan
from results.records import TargetRecord, read_record
from results.registry import Registry
from runners.console import Console
from runners.stages import measure as stage
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from search_spaces.spaces.presets import preset


@pytest.mark.parametrize(
    ("order", "steps", "expected"),
    [
        (1, ("quantize",), ("int8",)),
        (-1, ("prune", "quantize_aware"), ("fp32", "int8")),
        (-1, ("finetune", "prune"), ("fp32",)),
    ],
)
def test_the_search_predicts_from_the_table_of_each_form_without_a_target(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    order: int,
    steps: tuple[str, ...],
    expected: tuple[str, ...],
) -> None:
    space = preset("digits", classes=10, input_shape=(1, 8, 8), mixers=("identity",))
    profile = load_profile("mcu").model_copy(update={"precisions": ("int8", "fp32")[::order]})
    plan, facts = MeasurePlan(fit_networks=6, check_networks=8), open_target(profile).facts
    forms = stage.forms_of(facts, steps)
    assert forms == expected
    console = Console(tmp_path / "log.txt")
    found = stage.measure(
        space, open_target(profile), profile, plan, forms=forms, left_out=(), folder=tmp_path, console=console
    )
    assert list(found) == list(forms)
    assert all(one.check.networks == 8 // len(forms) for one in found.values()), "forms share the networks"
    rows = space.sample(50, np.random.default_rng(0))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a target was opened")

    monkeypatch.setattr(Registry, "configured", refuse)
    again = stage.fitted(space, plan, tmp_path, forms)
    for form in forms:
        pairs = zip(found[form].model.predict(rows), again[form].model.predict(rows), strict=True)
        for before, after in pairs:
            np.testing.assert_array_equal(before, after)
        assert again[form].check == found[form].check
        assert again[form].table.header.precision == form
    more = stage.fitted(space, plan, tmp_path, ("fp32", "int8")) if forms == ("fp32",) else again
    assert list(more) == list(forms), "a form that was not measured is left out"


@pytest.mark.parametrize(("format", "expected"), [("onnx", ("fp32", "int8")), ("tflite", ("fp32",))])
def test_int8_that_no_step_can_make_for_a_target_is_no_form_to_search_with(
    format: str, expected: tuple[str, ...]
) -> None:
    facts = replace(open_target(load_profile("mcu")).facts, format=format, precisions=("fp32", "int8"))
    assert stage.forms_of(facts, ("finetune", "quantize")) == expected


def test_a_form_that_no_network_can_have_is_left_out_and_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    profile = load_profile("mcu").model_copy(update={"precisions": ("fp32", "int8")})
    plan = MeasurePlan(fit_networks=6, check_networks=8)
    space = preset("digits", classes=10, input_shape=(1, 8, 8), mixers=("identity",))
    check = SimpleNamespace(to_json=dict)

    def measured(*place: Any, precision: str, **_: Any) -> Any:
        place[3].write_text("a table")
        if precision == "int8":
            raise ValueError("no such kernel")
        return SimpleNamespace(check=check, table=None)

    monkeypatch.setattr(stage, "measure_on", measured)
    monkeypatch.setattr(stage, "_cannot_run", lambda _: {})
    monkeypatch.setattr(stage, "_watts", lambda *_: None)
    found = stage.measure(
        space,
        open_target(profile),
        profile,
        plan,
        forms=("fp32", "int8"),
        left_out=(),
        folder=tmp_path,
        console=Console(tmp_path / "log.txt"),
    )
    assert list(found) == ["fp32"]
    assert not (tmp_path / "table-int8.parquet").exists(), "a form without a table is none"
    assert read_record(TargetRecord, tmp_path / "target.json").forms == ("fp32",)
    assert "no network is handed over in int8: no such kernel" in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize(
    ("profile", "busy", "warned"), [("cpu-ort", 1.2, True), ("cpu-ort", 0.1, False), ("mcu", 1.2, False)]
)
def test_a_busy_machine_is_warned_of_where_it_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, profile: str, busy: float, warned: bool
) -> None:
    monkeypatch.setattr(stage, "busy_cores", lambda: busy)
    log = tmp_path / "log.txt"
    stage.warn_if_busy(open_target(load_profile(profile)), tmp_path / "mine" / "measure", Console(log))
    assert log.exists() == warned
    if warned:
        assert "keep 1.2 cores busy" in log.read_text()
        assert f"quarry measure --out {tmp_path / 'mine'}" in log.read_text()


def test_parts_in_formats_of_their_own_need_a_target_that_measures_both() -> None:
    assert stage.mixed_form(open_target(load_profile("cpu-ort")).facts) == "mixed"
    facts = open_target(load_profile("cpu-ort")).facts
    for change, words in (
        ({"computed": True}, "computes latencies"),
        ({"format": "pt2"}, "takes pt2 files"),
        ({"precisions": ("fp32",)}, "runs fp32$"),
        ({"precisions": ("int8", "fp32")}, "runs int8 and fp32"),
    ):
        with pytest.raises(ValueError, match=words):
            stage.mixed_form(replace(facts, **change))
