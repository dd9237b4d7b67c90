"""The ladder's logic: its space, equal compute, a line for each piece, what the table says."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.rules.moment import Moment
from results.files import read_lines
from results.records import Preprocessing
from runners.data.splits import Split, Splits
from tests.benchmarks.ladder import __main__ as ladder
from tests.benchmarks.ladder.__main__ import Workshop, climb, labels_of, pieces, work
from tests.benchmarks.ladder.rungs import RUNGS, by_hand_space
from tests.benchmarks.ladder.table import table


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """On noise: two epochs of a handful of images, three networks."""
    monkeypatch.setattr(ladder, "NETWORKS", 3)
    rng = np.random.default_rng(0)

    def split(n: int) -> Split:
        images = torch.from_numpy(rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8))
        return Split(images=images, labels=torch.arange(n) % 10)

    made = Workshop("", tmp_path, images=20, epochs=2)
    white = Preprocessing(channels=3, height=32, width=32, mean=(0.5,) * 3, std=(0.2,) * 3)
    made.__dict__["splits"] = Splits(
        train=split(40), val=split(10), test=split(20), classes=tuple("abcdefghij"), preprocessing=white
    )
    return made


def test_the_space_is_the_216_networks_and_others_hold_them() -> None:
    dense = by_hand_space()
    ends = dense.smallest(), dense.largest()
    assert dense.size == 216
    for label, rung in RUNGS.items():
        if "+" in label:
            space = by_hand_space(rung.blocks)
            assert space.size > 216
            for arch in ends:
                assert space.to_arch(space.to_row(arch)).items() >= arch.items()


@pytest.mark.parametrize("label", list(RUNGS))
def test_every_rung_gives_passes_that_can_run_at_every_moment(label: str) -> None:
    rung = RUNGS[label]
    space = by_hand_space(rung.blocks)
    for progress in (0.0, 0.4, 0.99):
        passes = rung.rule(Moment(space=space, rng=np.random.default_rng(1), progress=progress))
        assert passes
        for at, one in enumerate(passes):
            space.to_row(one.arch)
            assert one.teacher is None or one.teacher < at  # type: ignore[operator]


def test_rungs_take_the_same_compute_whatever_a_step_costs(shop: Workshop) -> None:
    """Two passes a step cost less, so there are more epochs: compute is equal up to whole epochs."""
    first, cheaper = climb(shop, "distilled", 0), climb(shop, "labels, 2 passes", 0)
    assert first["epochs"] == 2
    assert first["compute"] == pytest.approx(1)
    assert cheaper["epochs"] > 2
    an_epoch = cheaper["compute"] / cheaper["epochs"]
    assert an_epoch < first["compute"] / first["epochs"]
    assert abs(cheaper["compute"] - 1) <= an_epoch / 2
    assert len(cheaper["accuracies"]) == 3


def test_what_is_done_is_not_done_again(shop: Workshop) -> None:
    for _ in range(2):
        work(shop, pieces(("labels", "labels, calibrated on 128"), (0,), (0, 2)))
    lines = list(read_lines(shop.out / "lines.jsonl"))
    assert [line["name"] for line in lines] == [
        *("alone-0-0", "alone-2-0", "labels-0", "labels-calibrated-on-128-0")
    ]
    assert lines[2]["accuracies"] == lines[3]["accuracies"]  # there are but 20 images to calibrate on
    assert not list(shop.out.glob("alone-*.safetensors"))


def test_the_table_compares_with_the_networks_that_were_trained_alone() -> None:
    truth = np.linspace(0.5, 0.6, 12)
    lines = [
        {"name": f"alone-{at}-0", "network": at, "accuracy": value} for at, value in enumerate(truth.tolist())
    ]
    for seed, off in enumerate((-0.01, -0.03)):
        accuracies = (truth + off).tolist()
        accuracies[-1], accuracies[-2] = accuracies[-2], accuracies[-1]
        lines.append(
            {
                "name": f"labels-{seed}",
                "rung": "labels",
                "seed": seed,
                "epochs": 10,
                "compute": 1.0,
                "training_s": 100.0,
                "accuracies": accuracies,
            }
        )
    said = table(lines, ("distilled", "labels")).splitlines()
    assert [part.strip() for part in said[-1].split("|")[1:-1]] == [
        *("labels", "2", "10", "1.00", "100", "48.0%"),
        *(f"{truth[6] - 0.02:.1%}", f"{truth[10] - 0.02:.1%}", "-2.0", "0.97"),
    ]


def test_a_rung_that_there_is_not_is_named() -> None:
    assert labels_of("labels; uniform") == ("labels", "uniform")
    with pytest.raises(argparse.ArgumentTypeError, match="Did you mean 'labels'"):
        labels_of("lables")
