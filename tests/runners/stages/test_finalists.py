"""Finalists of a race, measured with their weights on devices that are busy or refuse them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from results.records import SearchSummary
from runners.console import Console
from runners.stages import finalists
from runners.stages.compress import chosen_from_front
from runners.stages.finalists import Finalists
from tests.runners.stages.test_starters import candidates


class Busy:
    """A device on which files take so many ms, measuring by measuring."""

    def __init__(self, *ms: float) -> None:
        self.ms, self.facts = list(ms), SimpleNamespace(format="onnx")

    def export(self, *_: Any, **__: Any) -> None: ...

    def measure(self, files: Sequence[Path], **_: float) -> list[Any]:
        ms = self.ms.pop(0)
        return [SimpleNamespace(status="measured", median_ms=ms, low_ms=ms, high_ms=ms) for _ in files]


def test_a_finalist_that_cannot_be_exported_any_more_costs_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Choosy(Busy):
        def export(self, _network: Any, _shape: Any, file: Path, **_: Any) -> None:
            if file.stem in self.refused:
                raise KeyError("no such operator")

    monkeypatch.setattr(
        finalists, "trained", lambda *_: SimpleNamespace(extract=lambda arch: torch.nn.ReLU())
    )
    space: Any = SimpleNamespace(slots=(), input_shape=lambda arch: (3, 8, 8))
    console = Console(tmp_path / "log.txt")
    device: Any = Choosy(0.9, 0.9)
    device.refused = ["0"]
    work = Finalists(space=space, target=device, limit_ms=1.0, run=tmp_path, console=console)
    (entry,) = work.entries("run", candidates(2), [0.9, 0.8])
    assert entry.accuracy == 0.8
    assert (
        "is left out, as its file does not run any more: failed: 'no such"
        in (tmp_path / "log.txt").read_text()
    )
    device.refused = ["0", "1"]
    with pytest.raises(
        ValueError, match="no finalist runs on the target any more: failed: 'no such operator'"
    ):
        work.entries("run", candidates(2), [0.9, 0.8])


@pytest.mark.parametrize(("ms", "met"), [((1.2, 0.9), True), ((1.2, 1.1, 1.3, 0.9), False)])
def test_finalists_on_a_busy_device_are_measured_again_and_then_taken(
    ms: tuple[float, ...], met: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        finalists, "trained", lambda *_: SimpleNamespace(extract=lambda arch: torch.nn.ReLU())
    )
    space: Any = SimpleNamespace(slots=(), input_shape=lambda arch: (3, 8, 8))
    console = Console(tmp_path / "log.txt")
    device: Any = Busy(*ms)
    work = Finalists(space=space, target=device, limit_ms=1.0, run=tmp_path, console=console)
    (entry,) = work.entries("run", candidates(1), [0.9])
    assert entry.meets_limit == met
    summary = SearchSummary(
        limit_ms=1.0, confidence=0.95, reference=(0.0, 1.0), front=(entry,), largest=None, scored_images=1
    )
    assert chosen_from_front(summary, 2) == [entry]
    log = tmp_path / "log.txt"
    assert met or "the device may be busy" in log.read_text()
