"""What was saved of a network comes back as it was, or is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from compress.candidate import Candidate
from compress.saved import SavedError, restore, save

EXAMPLE = torch.ones(1, 1, 4, 4)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(1, 2, 3)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "exported.onnx").write_bytes(b"a file of the target")
    candidate = Candidate(network=network(), file=tmp_path / "exported.onnx", precision="fp32")
    save(candidate, tmp_path / "net" / "0_start")
    return tmp_path / "net" / "0_start"


def test_it_comes_back(place: Path) -> None:
    found = restore(network(), EXAMPLE, place)
    assert torch.equal(found.network.weight, network().weight)
    assert found.file.read_bytes() == b"a file of the target"


@pytest.mark.parametrize("name", ["network.safetensors", "model.onnx", "candidate.json"])
@pytest.mark.parametrize("damage", ["emptied", "cut short", "deleted"])
def test_damage_is_named_with_the_way_out(place: Path, name: str, damage: str) -> None:
    file = place / name
    content = file.read_bytes()
    file.unlink()
    if damage != "deleted":
        file.write_bytes(content[: len(content) // 2] if damage == "cut short" else b"")
    with pytest.raises(SavedError, match=f"{name}.*delete .*net and the compression log"):
        restore(network(), EXAMPLE, place)
