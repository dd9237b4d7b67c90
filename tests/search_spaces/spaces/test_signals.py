"""The one-dimensional space: its networks are of one row, and a recipe runs it on a real data set."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from compress.onnx.export import onnx_bytes
from nas.costs.counts.analytic import AnalyticCosts
from nas.supernet.supernet import Supernet
from runners.data.load import load_data
from runners.recipe.schema import Recipe
from runners.recipe.shipped import shipped
from search_spaces.space import SearchSpace
from search_spaces.spaces.presets import preset
from search_spaces.spaces.signals import SEQUENCE_MIXERS, SIGNALS
from tests.compress.networks import randomise_norms

PAGE = (Path(__file__).parents[3] / "docs" / "spaces.md").read_text()
LENGTHS = {"signal-short": 64, "signal": 1000}


def space_of(name: str, channels: int = 1) -> SearchSpace:
    return preset(name, classes=5, input_shape=(channels, 1, LENGTHS[name]))


@pytest.mark.parametrize("name", SIGNALS)
def test_every_layer_is_of_one_row(name: str) -> None:
    """No kernel has rows that see nothing but zeros, and lengths are halved as the stages say."""
    space = space_of(name)
    assert len(space.layers) < 500
    lengths = [LENGTHS[name]]
    for stage in SIGNALS[name]:
        lengths.append(-(-lengths[-1] // stage.resolution_step))
    for layer in space.layers:
        assert layer.input_shape[1:] in {(1, length) for length in lengths}
        for part in layer.build().modules():
            if isinstance(part, nn.Conv2d):
                assert part.kernel_size[0] == 1, layer.key


@pytest.mark.parametrize("name", SIGNALS)
def test_the_page_says_how_large_it_is(name: str) -> None:
    space = preset(name, classes=10, input_shape=(1, 1, LENGTHS[name]))
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}`")]
    *_, stages, networks, layers, _ = (cell.strip() for cell in row.split("|"))
    assert (int(stages), int(layers)) == (len(SIGNALS[name]), len(space.layers))
    assert networks == f"10^{round(math.log10(space.size))}"


@pytest.mark.parametrize("name", SIGNALS)
def test_a_subnet_of_any_mixers_is_the_network_that_was_built(name: str) -> None:
    space, draw = space_of(name), np.random.default_rng(0)
    supernet = Supernet(space, seed=0)
    signals = torch.randn(2, 1, 1, LENGTHS[name])
    seen: set[object] = set()
    for row in space.sample(6, draw):
        arch = space.to_arch(row)
        seen |= {value for key, value in arch.items() if key.endswith("mixer")}
        subnet, whole = supernet.subnet(arch).eval(), supernet.extract(arch).eval()
        assert whole(signals).shape == (2, 5)
        assert torch.equal(subnet(signals), whole(signals))
    assert len(seen) > 5


def test_costs_of_networks_are_those_of_their_layers() -> None:
    space = space_of("signal-short", channels=3)
    rows = space.sample(4, np.random.default_rng(1))
    params = AnalyticCosts(space).params(rows)
    for row, found in zip(rows, params, strict=True):
        network = space.build(space.to_arch(row))
        assert found == sum(weight.numel() for weight in network.parameters())


def test_the_file_of_a_network_with_all_of_its_mixers_computes_the_same() -> None:
    """Two networks, as a preset has fewer blocks than mixers."""
    space = space_of("signal-short")
    blocks = [name for name in space.names if name.endswith("mixer")]
    for first in (1, 5):
        arch = {**space.smallest(), "stage0.depth": 2, "stage1.depth": 2}
        arch |= dict(zip(blocks, SEQUENCE_MIXERS[first:], strict=False))
        network = randomise_norms(space.build(arch)).eval()
        content = onnx_bytes(network, (1, 1, 64))
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        signals = torch.randn(3, 1, 1, 64)
        (found,) = session.run(None, {session.get_inputs()[0].name: signals.numpy()})
        np.testing.assert_allclose(found, network(signals).detach().numpy(), rtol=1e-3, atol=1e-3)


def test_signals_too_short_for_the_stages_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"an input of \(1, 1, 12\) has nothing left at stage 1"):
        preset("signal", classes=5, input_shape=(1, 1, 12))
    with pytest.raises(ValueError, match=r"an input of \(1, 1, 1\) has nothing left at stage 1"):
        preset("signal-short", classes=5, input_shape=(1, 1, 1))


def test_its_recipe_has_real_signals() -> None:
    """The digits of scikit-learn, one row of pixels after another."""
    recipe = Recipe.model_validate(shipped("signal"))
    splits = load_data(recipe.data, seed=0)
    assert splits.input_shape == (1, 1, 64)
    known = {image.tobytes() for image in np.round(load_digits().images * (255 / 16)).astype(np.uint8)}
    assert {bytes(signal.numpy()) for signal in splits.train.images[:50]} <= known
    data = recipe.data.model_copy(update={"width": 32})
    with pytest.raises(ValueError, match="data.height = 1, data.width = 64; got 1, 1, 32"):
        load_data(data, seed=0)
