"""Tables and indices in a file: it computes with the clustered weights, and is as small as they are."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from compress.candidate import Candidate
from compress.clusters.shared import cluster, settle
from compress.onnx.export import export_onnx
from compress.onnx.file import OnnxFile
from compress.onnx.layers import weighted_nodes
from compress.onnx.numbers.palettes import store_palettes
from compress.steps import Cluster, Quantize
from tests.compress.networks import images
from tests.compress.targets import context


class _Net(nn.Module):
    """A convolution with a norm that folds, a product on tokens, a linear layer, and one with few weights."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 96, 4, stride=4, bias=False)
        self.norm = nn.BatchNorm2d(96)
        self.wide = nn.Linear(96, 200)
        self.head = nn.Linear(200, 96)
        self.last = nn.Linear(96, 2)

    def forward(self, x):
        x = self.norm(self.patches(x)).flatten(2).transpose(1, 2)
        return self.last(self.head(self.wide(x).relu().mean(1)))


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = _Net()
        made.norm.running_mean.normal_()
        made.norm.running_var.uniform_(0.1, 3)
        made.norm.weight.data.uniform_(-2, 2)  # a factor below zero among them
        return made.eval()


@pytest.fixture(scope="module")
def whole(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "float.onnx"
    export_onnx(network, torch.zeros(2, 1, 8, 8), path)
    return path


def clustered(network, **settings):
    copy = _Net().eval()
    copy.load_state_dict(network.state_dict())
    return copy, settle(copy, cluster(copy, **settings))


@pytest.mark.parametrize(
    ("settings", "share"),
    [
        ({"entries": 16}, 0.17),
        ({"entries": 256}, 0.34),
        ({"entries": 16, "length": 2}, 0.11),
        ({"entries": 16, "group": 8}, 0.2),
        ({"entries": 16, "group": 8, "length": 4}, 0.2),
    ],
)
def test_the_file_is_smaller_and_computes_with_the_shared_values(network, whole, tmp_path, settings, share):
    copy, palettes = clustered(network, **settings)
    export_onnx(copy, torch.zeros(2, 1, 8, 8), tmp_path / "float.onnx")
    target = tmp_path / "small.onnx"
    assert store_palettes(tmp_path / "float.onnx", target, copy, palettes) == ["head", "patches", "wide"]
    assert target.stat().st_size < share * whole.stat().st_size
    onnx.checker.check_model(onnx.load(target), full_check=True)
    with torch.no_grad():
        exact = copy.double()(torch.from_numpy(images(8)).double()).numpy()
    assert np.abs(OnnxFile(target)(images(8)) - exact).max() < 1e-5 * np.abs(exact).max()


def test_layers_keep_their_names_and_sizes(network, tmp_path):
    copy, palettes = clustered(network, entries=16, length=2)
    export_onnx(copy, torch.zeros(2, 1, 8, 8), tmp_path / "float.onnx")
    store_palettes(tmp_path / "float.onnx", tmp_path / "small.onnx", copy, palettes)
    before, after = (
        [(one.name, one.shape, one.outputs) for one in weighted_nodes(onnx.load(tmp_path / f"{kind}.onnx"))]
        for kind in ("float", "small")
    )
    assert after == before


def test_another_weight_than_the_tables_stays_float(network, whole, tmp_path):
    copy, palettes = clustered(network, entries=16)
    copy.head.weight.data[0, 0] += 1
    export_onnx(copy, torch.zeros(2, 1, 8, 8), tmp_path / "float.onnx")
    assert store_palettes(tmp_path / "float.onnx", tmp_path / "small.onnx", copy, palettes) == [
        "patches",
        "wide",
    ]
    with pytest.raises(ValueError, match="no weight of .* is smaller as a table and indices"):
        store_palettes(whole, tmp_path / "none.onnx", network, palettes)
    assert not (tmp_path / "none.onnx").exists()


def test_the_step_trains_what_is_shared_and_nothing_is_quantized_after_it(network, whole, tmp_path):
    trained = []

    def finetune(module, *, seed, epochs=None):
        trained.append(epochs)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(1.01)
        return module

    asked = context(example=torch.zeros(1, 1, 8, 8), calibration=images(8), finetune=finetune)
    start = Candidate(network=network, file=whole)
    first, second = Cluster(bits=(8, 4)).propose(start, asked, tmp_path)
    assert (first.label, second.label) == ("3 layers of 256 values each", "3 layers of 16 values each")
    assert first.file.stat().st_size > 1.5 * second.file.stat().st_size
    assert second.precision == "palette"
    (tmp_path / "pairs").mkdir()
    (found,) = Cluster(epochs=0, length=2).propose(start, asked, tmp_path / "pairs")
    assert found.label == "3 layers of 16 values each, 2 bits a number"
    assert trained == [None, None]
    for one in (first, second, found):
        with torch.no_grad():
            right = one.network(torch.from_numpy(images(8))).numpy()
        assert np.abs(OnnxFile(one.file)(images(8)) - right).max() < 1e-4 * np.abs(right).max()
    with pytest.raises(ValueError, match="the file is palette already"):
        Quantize().propose(second, asked, tmp_path)
    elsewhere = context(example=torch.zeros(1, 1, 8, 8), finetune=lambda module, **_: nn.Sequential(module))
    with pytest.raises(ValueError, match="values are shared in the network .* train it in place"):
        Cluster().propose(start, elsewhere, tmp_path)
    with pytest.raises(ValueError, match="no convolution or linear layer has weights that can share values"):
        Cluster(ignore=("patches", "wide", "head", "last")).propose(start, asked, tmp_path)
