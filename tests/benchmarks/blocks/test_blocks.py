"""The benchmark's logic: its networks, the width of equal latency, a line for each thing done, the table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch import nn

from results.files import append_line, read_lines
from results.records import Preprocessing
from results.timing import Timing, not_measured
from runners.data.splits import Split, Splits
from search_spaces.gates.registry import GATES
from search_spaces.mixers.registry import MIXERS
from tests.benchmarks.blocks.__main__ import Images, measure, names_of, settings, train_all
from tests.benchmarks.blocks.parts import CHANNEL_MIXER, GATE, MIXER, Part, candidate, nearest, parts, widths
from tests.benchmarks.blocks.table import budget, equal_scale, picture, table

DEPTHWISE, SE = Part(MIXER, "depthwise"), Part(GATE, "se")


def latency(part: Part, scale: float, ms: float, problem: str = "") -> dict[str, Any]:
    about = {"what": "latency", "kind": part.kind, "part": part.name, "scale": scale}
    return {**about, "latency_ms": ms, "problem": problem}


def accuracy(part: Part, scale: float, seed: int, value: float) -> dict[str, Any]:
    about = {"what": "accuracy", "kind": part.kind, "part": part.name, "scale": scale}
    return {**about, "seed": seed, "accuracy": value}


LINES = [
    *(latency(DEPTHWISE, scale, ms) for scale, ms in ((1.0, 0.1), (2.0, 0.2), (3.0, 0.4))),
    *(latency(SE, scale, ms) for scale, ms in ((1.0, 0.15), (2.0, 0.4), (3.0, 0.8), (1.25, 0.19))),
    *(latency(Part(MIXER, "dcnv4"), scale, ms) for scale, ms in ((1.0, 3.0), (2.0, 5.0), (3.0, 9.0))),
    latency(Part(MIXER, "aff"), 1.0, 0.0, "no such operator"),
    *(accuracy(DEPTHWISE, 2.0, seed, value) for seed, value in enumerate((0.5, 0.6, 0.7))),
    accuracy(SE, 1.25, 0, 0.55),
    accuracy(SE, 1.0, 0, 0.99),  # of a width that is not the one of equal latency
]


def test_every_mixer_channel_mixer_and_gate_is_a_row_and_has_a_network() -> None:
    found = parts()
    assert len(set(found)) == len(found)
    assert {part.name for part in found if part.kind == MIXER} == set(MIXERS)
    assert {part.name for part in found if part.kind == GATE} == set(GATES)
    assert found[0] == DEPTHWISE
    for part in (
        DEPTHWISE,
        SE,
        Part(GATE, "ela"),
        Part(CHANNEL_MIXER, "sparse_mlp"),
        Part(MIXER, "token_mlp"),
    ):
        space = part.space(1.25)
        arch = space.smallest()
        names = [layer.kind for layer in space.lower(arch)]
        assert part.name in names or arch["stage0.block0.conv_mlp.gate"] == part.name


def test_widths_are_multiples_of_16_that_grow() -> None:
    assert widths(1) == (16, 32, 64)
    assert widths(1.5) == (32, 48, 96)
    assert widths(0.75) == (16, 32, 48)


def test_the_width_is_found_where_the_logarithm_of_latency_is_a_straight_line() -> None:
    def ms(scale: float) -> float:
        return 0.001 * sum(widths(scale)) ** 1.5

    measured = {scale: ms(scale) for scale in (1.0, 2.0, 3.0)}
    assert candidate(measured, ms(1.5)) == 1.5
    assert candidate(measured, 1.05 * ms(1.75)) == 1.75
    assert candidate(measured, ms(4.0)) == 4.0
    assert candidate(measured, 1e-4) == 0.75
    assert nearest({1.0: 0.1, 2.0: 0.4}, 0.21) == 2.0
    assert nearest({1.0: 0.1, 2.0: 0.4}, 0.19) == 1.0


def test_the_budget_is_that_of_the_depthwise_mixer_and_what_is_far_from_it_is_not_compared() -> None:
    assert budget(LINES) == 0.2
    assert equal_scale(LINES, SE, 0.2) == 1.25
    assert equal_scale(LINES, Part(MIXER, "dcnv4"), 0.2) is None
    assert equal_scale(LINES, Part(MIXER, "aff"), 0.2) is None
    with pytest.raises(ValueError, match="not measured at its middle size"):
        budget(LINES[:1])


def test_the_table_has_intervals_over_seeds_and_says_what_has_no_number() -> None:
    text = table(LINES, [SE, Part(MIXER, "dcnv4"), Part(MIXER, "aff"), DEPTHWISE]).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text[2:]]
    assert [row[0].split(",")[0] for row in rows] == ["`depthwise`", "`dcnv4`", "`aff`", "`se`"]
    half = 4.302652729911275 * 0.1 / 3**0.5  # Student's t for two degrees of freedom
    assert rows[0][1:] == [
        "0.100",
        "0.200",
        "0.400",
        "32-64-128",
        "0.200",
        f"60.0% ({0.6 - half:.1%} to {0.6 + half:.1%})",
    ]
    assert rows[1][4] == "no width near"
    assert rows[2][4] == "no such operator"
    assert rows[3][4:] == ["16-48-80", "0.190", "55.0%"]
    assert {len(row) for row in rows} == {7}


def test_the_picture_has_a_point_for_each_that_was_trained() -> None:
    drawn = ElementTree.fromstring(picture(LINES, [SE, Part(MIXER, "dcnv4"), DEPTHWISE]))
    assert len([one for one in drawn.iter() if one.tag.endswith("circle")]) == 2
    with pytest.raises(ValueError, match="no accuracies"):
        picture(LINES[:3], [DEPTHWISE])


class Device:
    """Every file takes a millisecond; it refuses all whose name has ``eca``."""

    def __init__(self) -> None:
        self.files: list[str] = []

    def export(self, network: nn.Module, input_shape: tuple[int, ...], path: Path) -> None:
        with torch.no_grad():
            assert network(torch.zeros(1, *input_shape)).shape == (1, 10)
        path.write_bytes(b"")

    def measure(self, files: list[Path], *, budget_s: float) -> list[Timing]:
        assert budget_s == len(files)
        self.files += [file.name for file in files]
        return [
            not_measured("unsupported", "no eca")
            if "eca" in file.name
            else Timing(median_ms=1.0, low_ms=0.9, high_ms=1.1, repeats=3)
            for file in files
        ]


def test_what_was_timed_is_a_line_and_is_not_timed_again(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    device, cases = Device(), [(SE, 1.0), (Part(GATE, "eca"), 1.0)]
    measure(cases, device, tmp_path, 1.0)  # type: ignore[arg-type]
    measure([*cases, (SE, 2.0)], device, tmp_path, 1.0)  # type: ignore[arg-type]
    assert device.files == ["gate-se-1.onnx", "gate-eca-1.onnx", "gate-se-2.onnx"]
    assert [line["problem"] for line in read_lines(tmp_path / "lines.jsonl")] == ["", "no eca", ""]


def test_training_goes_on_seed_by_seed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def split(n: int) -> Split:
        images = torch.from_numpy(rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8))
        return Split(images=images, labels=torch.arange(n) % 10)

    images = Images("", tmp_path, images=20)
    white = Preprocessing(channels=3, height=32, width=32, mean=(0.5,) * 3, std=(0.2,) * 3)
    images.__dict__["splits"] = Splits(
        train=split(40), val=split(10), test=split(20), classes=tuple("abcdefghij"), preprocessing=white
    )
    log = tmp_path / "lines.jsonl"

    for scale in (1.0, 2.0):
        append_line(log, latency(DEPTHWISE, scale, 0.1 * scale))
    append_line(log, latency(Part(MIXER, "dcnv4"), 1.0, 5.0))
    found = [DEPTHWISE, Part(MIXER, "dcnv4")]
    train_all(found, 1, tmp_path, images, settings(1, "fp32"), 5)
    train_all(found, 2, tmp_path, images, settings(1, "fp32"), 5)
    done = [line for line in read_lines(log) if line["what"] == "accuracy"]
    assert [(line["part"], line["scale"], line["seed"]) for line in done] == [
        ("depthwise", 2.0, 0),
        ("depthwise", 2.0, 1),
    ]
    assert all(0 <= line["accuracy"] <= 1 for line in done)
    with pytest.raises(ValueError, match="1 epochs of 20 images; take another folder"):
        train_all(found, 2, tmp_path, images, settings(2, "fp32"), 5)


def test_an_unknown_part_is_told_with_the_nearest() -> None:
    assert names_of("se,depthwise") == ("se", "depthwise")
    with pytest.raises(argparse.ArgumentTypeError, match="depthwise"):
        names_of("depthwize")
