"""Which files of a compressed model are handed over."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from runners.compressing import hand_over
from runners.compressing.goal import Figures


@pytest.mark.parametrize(
    ("wrong", "handed_over"),
    [
        (set(), {"whole", "half", "half-int8"}),
        ({"half-int8"}, {"whole", "half", "quarter"}),
        ({"half-int8", "half"}, {"whole", "quarter"}),
    ],
)
def test_a_file_that_is_not_its_network_leaves_the_front_to_others(
    monkeypatch: pytest.MonkeyPatch, wrong: set[str], handed_over: set[str]
) -> None:
    figures = {
        "whole": Figures(latency_ms=4.0, size_bytes=400, accuracy=0.90),
        "half": Figures(latency_ms=2.0, size_bytes=200, accuracy=0.90),
        "half-int8": Figures(latency_ms=1.0, size_bytes=50, accuracy=0.85),
        "quarter": Figures(latency_ms=1.5, size_bytes=100, accuracy=0.80),
    }
    ran: list[str] = []

    def checked(_: object, one: SimpleNamespace) -> object:
        ran.append(one.name)
        return None if one.name in wrong else object()

    monkeypatch.setattr(hand_over, "_checked", checked)
    made = [SimpleNamespace(name=name) for name in figures]
    found = hand_over._verified(None, made, list(figures.values()))  # type: ignore[arg-type]
    assert set(found) == handed_over
    assert len(ran) == len(set(ran)), "each is run once"
