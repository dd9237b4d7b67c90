"""The benchmark's logic: what the plain way cuts and chooses, what is charged, what the table says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from nas.costs.counts.analytic import count
from results.files import read_lines
from runners.compressing.scan import Scan, Scanned
from runners.compressing.shorter import Blocks
from tests.benchmarks.compression import quarry
from tests.benchmarks.compression.judge import Clock
from tests.benchmarks.compression.look import rows
from tests.benchmarks.compression.networks import NETWORKS
from tests.benchmarks.compression.picture import picture
from tests.benchmarks.compression.plain import Looked, chosen, pruned
from tests.benchmarks.compression.results import GIVEN, PLAIN, QUARRY, Judged
from tests.benchmarks.compression.setting import SHAPE, Setting
from tests.benchmarks.compression.table import differences, slower, table
from tests.benchmarks.settings import keep


def line(side: str, factor: float, test: float, latency_ms: float) -> Judged:
    return Judged(
        network="vit",
        side=side,
        factor=factor,
        precision="int8",
        share=0.5,
        macs=1_000_000,
        test=test,
        latency_ms=latency_ms,
        low_ms=latency_ms,
        high_ms=latency_ms,
        within=side != PLAIN,
        cpu_s=60.0,
    )


LINES = [line(GIVEN, 1, 0.8, 1.0), line(QUARRY, 2, 0.79, 0.5), line(PLAIN, 2, 0.77, 1.25)]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_plain_way_cuts_half_of_each_network(name: str) -> None:
    network = NETWORKS[name](SHAPE, 10).eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    half = pruned(network, 0.5)
    assert 2.5 < count(network, SHAPE).macs / count(half, SHAPE).macs < 5
    with torch.no_grad():
        assert half(torch.zeros(2, *SHAPE)).shape == (2, 10)
    channels = [one.out_channels for one in half.modules() if isinstance(one, nn.Conv2d)]
    assert all(number % 8 == 0 for number in channels)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_the_largest_share_that_is_fast_enough_is_chosen_and_else_the_fastest() -> None:
    looked = [
        Looked(share=share, precision=precision, speedup=speedup)
        for share, precision, speedup in (
            (1.0, "fp32", 1.0),
            (1.0, "int8", 1.9),
            (0.5, "fp32", 2.1),
            (0.5, "int8", 3.0),
            (0.3, "int8", 2.9),
        )
    ]
    assert [(chosen(looked, factor).share, chosen(looked, factor).precision) for factor in (1.5, 2, 4)] == [
        (1.0, "int8"),
        (0.5, "int8"),
        (0.5, "int8"),
    ]


def _stopped(clock: Clock) -> None:
    with clock.counted("some"):
        sum(range(3_000_000))
        raise KeyboardInterrupt


def test_what_was_spent_before_it_was_stopped_counts(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "seconds.jsonl")
    with pytest.raises(KeyboardInterrupt):
        _stopped(clock)
    (told,) = read_lines(tmp_path / "seconds.jsonl")
    assert told["seconds"] > 0
    with clock.counted("some") as spent_s:
        assert spent_s() >= told["seconds"]
    with clock.counted("other") as spent_s:
        assert spent_s() < told["seconds"]


def test_an_answer_is_charged_with_what_attempts_before_it_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench: Any = SimpleNamespace(folder=tmp_path, source="here", options=None)
    model = tmp_path / "quarry" / "artifacts" / "some" / "model.onnx"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"a file")
    file = SimpleNamespace(name="some", precision="int8", share=0.5, macs=1, accuracy=0.8)
    record = SimpleNamespace(files=[file], answer="some", met=True)
    monkeypatch.setattr(quarry, "compress_model", lambda *_, **__: SimpleNamespace(record=record))
    spent = iter(range(90, 200, 10))  # 90 s by an attempt that was stopped
    assert quarry.answer(bench, nn.Identity(), 2.0, lambda: float(next(spent))).cpu_s >= 90


def test_the_table_sets_the_sides_beside_each_other() -> None:
    rows = table(LINES).splitlines()
    assert rows[2].startswith("| vit |  | as it is |")
    assert "| vit | 2x | Quarry | int8 | 50% | 1.0 M | 79.00% | 0.5000 ms | 2.00 | 60 |" in rows
    assert sum("| 0.80 (missed) |" in row for row in rows) == 1
    (told,) = differences(LINES)
    assert told.startswith("vit, 2 times: +2.00 points")
    assert told.endswith("at 0.40 of the plain way's latency; the plain way missed the goal")
    assert slower(LINES) == ["vit, plain, 2 times is slower than the network as it is"]


def test_the_picture_has_a_line_for_each_side() -> None:
    drawing = picture(LINES)
    ElementTree.fromstring(drawing)
    assert drawing.count("<circle") == 4
    assert "vit, Quarry" in drawing
    assert "vit, plain" in drawing
    with pytest.raises(ValueError, match="no results to draw"):
        picture([])


def test_a_folder_keeps_to_its_setting(tmp_path: Path) -> None:
    first = Setting(data="here", images=100, base_epochs=1, epochs=1, factors=(2.0,), seed=0)
    keep(first, tmp_path)
    keep(first, tmp_path)
    other = Setting(data="here", images=200, base_epochs=1, epochs=1, factors=(2.0,), seed=0)
    with pytest.raises(ValueError, match="images 100.*take another --out"):
        keep(other, tmp_path)


def test_the_look_ahead_has_a_row_for_each_share_and_one_for_blocks() -> None:
    files = [
        Scanned(share=share, precision=form, latency_ms=ms, size_bytes=1, macs=macs)
        for share, form, ms, macs in (
            (1.0, "fp32", 1.0, 4_000_000),
            (0.5, "fp32", 0.5, 1_000_000),
            (1.0, "int8", 0.8, 4_000_000),
            (0.5, "int8", 0.4, 1_000_000),
        )
    ]
    found = Scan(counts=16, files=tuple(files), left=(), blocks=Blocks(count=3, latency=0.75, macs=0.8))
    assert rows("some", found) == [
        "| some | as it is | 4.0 M | 1.000 ms |  | 1.25x |",
        "|  | 50% of the channels | 4.00x fewer | 2.00x | 0.50 | 2.50x |",
        "| | without all 3 blocks that can go | 5.00x fewer | 4.00x | 0.80 | |",
    ]
