"""A model that is given is checked before any work: weights, outputs, gradients."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from runners.compressing.given import checked
from runners.data.load import load_data
from runners.data.prepared import RunData
from runners.data.splits import Prepare
from runners.given import load_weights
from runners.recipe.part import part
from runners.recipe.schema import Data


class Tied(nn.Module):
    """A network whose second layer has the weights of the first."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(64, width), nn.Linear(width, 64)
        self.norm, self.head = nn.BatchNorm1d(64), nn.Linear(64, 10)
        if width == 64:
            self.two.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.two(self.one(x.flatten(1)).relu())))


@pytest.fixture(scope="module")
def data() -> RunData:
    splits = load_data(Data(source=part("digits"), height=8, width=8, channels=1), seed=0)
    return RunData(splits=splits, prepare=Prepare(preprocessing=splits.preprocessing), calibration_images=8)


def test_weights_are_read_where_tied_ones_are_stored_once(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trained, other = Tied(), Tied()
    safetensors.torch.save_model(trained, str(tmp_path / "w.safetensors"))
    before = (tmp_path / "w.safetensors").read_bytes()
    load_weights(other, tmp_path / "w.safetensors")
    assert other.two.weight is other.one.weight
    for name, value in trained.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    assert (tmp_path / "w.safetensors").read_bytes() == before


def test_weights_of_another_network_are_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    weights = {name: value.clone() for name, value in Tied(32).state_dict().items()}
    weights["extra"] = weights.pop("head.bias")
    safetensors.torch.save_file(weights, file)
    network = Tied()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ValueError, match="weights of another network") as caught:
        load_weights(network, file)
    said = str(caught.value)
    assert "1 of the network's 11 are missing (head.bias)" in said
    assert "1 are not in the network (extra)" in said
    assert "one.weight (32, 64) for (64, 64)" in said
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())


def test_files_that_hold_no_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="no safetensors file, or a damaged one"):
        load_weights(Tied(), tmp_path / "w.safetensors")
    with pytest.raises(FileNotFoundError, match=r"Did you mean 'w.safetensors'\?"):
        load_weights(Tied(), tmp_path / "ww.safetensors")


class Gives(nn.Module):
    """A network that gives something odd."""

    def __init__(self, make: object, classes: int = 10) -> None:
        super().__init__()
        self.head, self.make = nn.Linear(64, classes), make

    def forward(self, x: Tensor) -> object:
        return self.make(self.head(x.flatten(1)))  # type: ignore[operator]


def frozen() -> nn.Module:
    return Tied().requires_grad_(False)


def not_a_number() -> nn.Module:
    network = Tied()
    network.head.bias.data[3] = float("nan")
    return network


@pytest.mark.parametrize(
    ("network", "problem"),
    [
        (not_a_number(), "Tied has weights that are not finite: head.bias; take an earlier checkpoint"),
        (frozen(), r"all weights of Tied are frozen .*call requires_grad_\(\)"),
        (Gives(lambda x: x.detach()), "no gradients reach the weights of Gives.*detaches what it gives"),
        (Gives(lambda x: x, classes=7), r"makes \(2, 7\) of two images, and the data have 10 classes"),
        (Gives(lambda x: [x]), "gives a list; it has to give a tensor"),
        (Gives(lambda x: x / 0), "outputs that are not finite"),
        (nn.Sequential(nn.Conv2d(3, 4, 3)), "does not run on .*1, 8, 8"),
        (nn.Flatten(), "no parameters"),
    ],
)
def test_what_cannot_be_compressed_is_refused_in_a_sentence(
    network: nn.Module, problem: str, data: RunData
) -> None:
    with pytest.raises(ValueError, match=problem):
        checked(network, data)


def test_logits_are_taken_out_of_what_transformers_give(data: RunData) -> None:
    network = Gives(lambda x: SimpleNamespace(logits=x, hidden_states=None)).eval()
    images = data.example
    with torch.no_grad():
        assert torch.equal(checked(network, data)(images), network(images).logits)  # type: ignore[attr-defined]
