"""Which networks of a front are compressed, and what follows where a file is too slow or cannot be made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from compress.candidate import Context
from compress.failure import UnusableError
from compress.steps import Finetune, Prune, Retrain
from results.records import FrontEntry, SearchSummary
from results.timing import Timing
from runners.console import Console
from runners.recipe.part import part
from runners.stages import compress
from runners.stages.compress import chosen_from_front, configured_steps, spare
from tests.runners.stages.test_front import Slow, front_on, timing


def unusable(name: str, *_: Any, **__: Any) -> Any:
    if name == "r-1":
        raise UnusableError("r-1 cannot be compressed: no such operator")
    return SimpleNamespace(file=Path(name)), ()


def test_a_network_that_cannot_be_compressed_costs_itself(
    lucky: tuple[SearchSummary, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    summary = lucky[0]
    monkeypatch.setattr(compress, "run_steps", unusable)
    monkeypatch.setattr(compress, "context_of", lambda *_: Context.__new__(Context))
    monkeypatch.setattr(compress, "replace", lambda context, **_: context)
    work: Any = SimpleNamespace(
        networks=SimpleNamespace(network=lambda arch: None),
        recipe=SimpleNamespace(compress=SimpleNamespace(steps=())),
        folder=tmp_path,
        console=Console(tmp_path / "log.txt"),
    )
    found, reasons = compress.compressed_networks(work, summary.front[:2], None)
    assert list(found) == ["r-2"]
    assert reasons == ["r-1 cannot be compressed: no such operator"]
    assert "r-1 is left out: r-1 cannot be compressed" in (tmp_path / "log.txt").read_text()


def test_none_that_can_be_compressed_is_an_error_with_the_reason(
    lucky: tuple[SearchSummary, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(compress, "compressed_networks", lambda *_: ({}, ["no such operator"]))
    work: Any = SimpleNamespace(
        recipe=SimpleNamespace(compress=SimpleNamespace(networks=1, goal="limit")),
        target=None,
        folder=tmp_path,
        console=Console(),
    )
    with pytest.raises(ValueError, match="networks of the front could be compressed: no such operator"):
        compress.compress_front(work, lucky[0])
    assert not (tmp_path / "networks.json").exists()


@pytest.fixture
def lucky() -> tuple[SearchSummary, str]:
    """A front of which the network that scored best was lucky, and that network's name."""
    summary = front_on(Slow(1.0))
    best = max(summary.front, key=lambda entry: entry.accuracy)
    front = tuple(replace(e, held_back_accuracy=0.1) if e is best else e for e in summary.front)
    return replace(summary, front=front), best.name


def test_the_choice_looks_at_all_validation_images(lucky: tuple[SearchSummary, str]) -> None:
    summary, name = lucky
    (best,) = chosen_from_front(summary, 1)
    assert best.name != name
    faster = spare(summary, [best])
    assert all(entry.measured_ms < best.measured_ms for entry in faster)
    assert [entry.accuracy for entry in faster] == sorted((e.accuracy for e in faster), reverse=True)


def test_a_limit_that_no_file_meets_is_told_with_what_would_help(
    lucky: tuple[SearchSummary, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def compressed(work: Any, entries: Sequence[FrontEntry], limit_ms: float | None) -> Any:
        return {entry.name: SimpleNamespace(file=Path(entry.name)) for entry in entries}, []

    monkeypatch.setattr(compress, "compressed_networks", compressed)
    monkeypatch.setattr(compress, "measure_files", lambda _, files: [timing(25.0) for _ in files])
    work: Any = SimpleNamespace(
        recipe=SimpleNamespace(compress=SimpleNamespace(networks=1, goal="limit")),
        target=None,
        folder=tmp_path,
        console=Console(tmp_path / "log.txt"),
    )
    compress.compress_front(work, lucky[0])
    assert "--set compress.tolerance=" in (tmp_path / "log.txt").read_text()


def test_files_over_the_limit_are_followed_by_those_of_faster_networks(
    lucky: tuple[SearchSummary, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def compressed(work: Any, entries: Sequence[FrontEntry], limit_ms: float | None) -> Any:
        return {entry.name: SimpleNamespace(file=Path(entry.name)) for entry in entries}, []

    measured: list[int] = []

    def measure(target: Any, files: Sequence[Path]) -> list[Timing]:
        measured.append(len(files))
        return [timing(25.0) for _ in files[:-1]] + [timing(25.0 if len(files) < 3 else 12.0)]

    monkeypatch.setattr(compress, "compressed_networks", compressed)
    monkeypatch.setattr(compress, "measure_files", measure)
    work: Any = SimpleNamespace(
        recipe=SimpleNamespace(compress=SimpleNamespace(networks=1, goal="limit")),
        target=None,
        folder=tmp_path,
        console=Console(),
    )
    compress.compress_front(work, lucky[0])
    assert measured == [1, 2, 3]
    chosen = compress.compressed_entries(tmp_path, lucky[0])
    assert len(chosen) == 3
    assert chosen[0].measured_ms > chosen[2].measured_ms
    with pytest.raises(ValueError, match="the search did not find; compress again with: quarry"):
        compress.compressed_entries(tmp_path, replace(lucky[0], front=lucky[0].front[:1]))


def test_steps_have_the_settings_of_the_recipe() -> None:
    asked = (part("finetune"), part("retrain", epochs=3), part("prune", keep=[0.75, 0.5]), part("prune"))
    steps = configured_steps(asked)
    assert steps == [Finetune(), Retrain(epochs=3), Prune(keep=(0.75, 0.5)), Prune()]
