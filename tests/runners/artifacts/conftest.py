"""An artifact of a small network, as a run hands it over."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from compress.candidate import Candidate
from compress.onnx.export import export_onnx
from results.records import Card, Preprocessing
from runners.artifacts.files import write_artifact
from runners.data.prepared import RunData
from runners.data.splits import Prepare, Split, Splits
from search_spaces.spaces.metaformer import Stage, metaformer
from tests.results.records.test_records import CARD

CLASSES = ("cat", "dog", "owl")


def some_data() -> RunData:
    """A few images of noise, RGB 12 x 8."""
    generator = torch.Generator().manual_seed(0)
    given = Preprocessing(channels=3, height=12, width=8, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))

    def split(n: int) -> Split:
        images = torch.randint(0, 256, (n, 3, 12, 8), generator=generator, dtype=torch.uint8)
        return Split(images=images, labels=torch.arange(n) % 3)

    splits = Splits(train=split(9), val=split(6), test=split(30), classes=CLASSES, preprocessing=given)
    return RunData(splits=splits, prepare=Prepare(preprocessing=given), calibration_images=4)


def some_network() -> nn.Module:
    """Two blocks, attention among them, with statistics as if it had been trained."""
    stages = [
        Stage(widths=(16,), depths=(1,), mixers=(name,), ratios=(1,)) for name in ("attention", "depthwise")
    ]
    space = metaformer("some", stages, classes=3, input_shape=(3, 12, 8))
    torch.manual_seed(0)
    network = space.build(space.largest())
    network.train()(torch.randn(16, 3, 12, 8))
    return network.eval()


def some_card(content: bytes, data: RunData, **changes: object) -> Card:
    """What the card of that network says."""
    card = replace(
        CARD,
        name="some",
        classes=CLASSES,
        preprocessing=data.splits.preprocessing,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        precision="fp32",
    )
    return replace(card, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def data() -> RunData:
    return some_data()


@pytest.fixture(scope="session")
def network() -> nn.Module:
    return some_network()


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, data: RunData, network: nn.Module) -> Path:
    """The folder of a run with one artifact, ``artifacts/some``; nobody may write there."""
    folder = tmp_path_factory.mktemp("run")
    file = folder / "model.onnx"
    export_onnx(network, data.input_shape, file)
    card = some_card(file.read_bytes(), data)
    left_out = write_artifact(
        folder / "artifacts" / "some", card, Candidate(network=network, file=file), data
    )
    assert left_out == ()
    return folder
