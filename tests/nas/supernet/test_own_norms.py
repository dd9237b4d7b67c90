"""Norms of their own for each width: convolutions are shared as ever, scales and shifts among equals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nas.supernet.calibration import recalibrate
from nas.supernet.supernet import Supernet
from search_spaces.space import SearchSpace
from search_spaces.spaces.convnet import ConvNet, ConvStage, convnet
from tests.spaces import SPACES

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def space() -> SearchSpace:
    stage = ConvStage(widths=(4, 8), depths=(1, 2), blocks=("plain",), stride=1)
    return convnet("tiny", ConvNet(stages=(stage,), stem_strides=(1,)), classes=3, input_shape=(3, 8, 8))


def randomised() -> Supernet:
    supernet = Supernet(space(), own_norms=True)
    generator = torch.Generator().manual_seed(0)
    for flat in supernet.flat.values():
        flat.copy_(torch.randn(flat.shape, generator=generator) * 0.3)
    return supernet


def arch(width: int, depth: int) -> dict[str, int | str]:
    return {"stem.stride": 1, "stage0.width": width, "stage0.depth": depth, "stage0.block": "plain"}


def stem(supernet: Supernet, width: int, depth: int) -> dict[str, torch.Tensor]:
    network = supernet.subnet(arch(width, depth))
    return {name: value for name, value in network.named_parameters() if name.startswith("stem.")}


def test_norms_are_shared_among_networks_of_one_width_and_convolutions_among_all() -> None:
    supernet = randomised()
    narrow, deep, wide = stem(supernet, 4, 1), stem(supernet, 4, 2), stem(supernet, 8, 1)
    for name, value in narrow.items():
        assert value.data_ptr() == deep[name].data_ptr()
    assert narrow["stem.conv.weight"].data_ptr() == wide["stem.conv.weight"].data_ptr()
    for name in ("stem.norm.weight", "stem.norm.bias"):
        assert not torch.equal(narrow[name], wide[name][:4])


def test_first_values_are_those_of_norms() -> None:
    supernet = Supernet(space(), own_norms=True)
    for width in (4, 8):
        own = stem(supernet, width, 2)
        assert own["stem.norm.weight"].tolist() == [1] * width
        assert own["stem.norm.bias"].tolist() == [0] * width


def test_the_optimizer_sees_the_norms_of_the_widths_that_ran() -> None:
    supernet = randomised()
    network = supernet.subnet(arch(4, 1))
    network(IMAGES).sum().backward()
    used = supernet.used_by([network])
    supernet.expose_gradients(used)
    assert {"stem.conv.weight", "stem.norm.weight[4]", "stem.norm.bias[4]"} <= used
    assert supernet.parameters["stem.norm.weight[4]"].grad is not None
    assert supernet.parameters["stem.norm.weight[8]"].grad is None
    assert used <= set(supernet.index)


def test_subnets_equal_extracted_ones_and_files_hold_the_norms(tmp_path: Path) -> None:
    supernet = randomised()
    supernet.save(tmp_path / "supernet.safetensors")
    loaded = Supernet.load(tmp_path / "supernet.safetensors", space())
    assert set(loaded.index) == set(supernet.index)
    for width in (4, 8):
        subnet, extracted, again = (
            recalibrate(network, IMAGES)
            for network in (
                supernet.subnet(arch(width, 2)),
                supernet.extract(arch(width, 2)),
                loaded.subnet(arch(width, 2)),
            )
        )
        assert torch.equal(subnet(IMAGES), extracted(IMAGES))
        assert torch.equal(subnet(IMAGES), again(IMAGES))


def test_a_space_that_only_builds_is_refused() -> None:
    with pytest.raises(ValueError, match="only builds whole networks"):
        Supernet(SPACES["vit"](), own_norms=True)
