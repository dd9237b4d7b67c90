"""Classifiers that others wrote are cut, exported and quantized, and what comes out is right in numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from compress.onnx.export import export_onnx
from compress.onnx.file import OnnxFile
from compress.onnx.static import Int8, operators_of, quantize_static
from nas.costs.counts.analytic import count
from runners.adopting.taken_up import example_of, taken_up

pytest.importorskip("transformers")
from tests.benchmarks.compress_models import half_of
from tests.classifiers import CLASSIFIERS, classifier

EXPECTED = {  # most of the multiply-accumulates that are left, and where something stays
    "ResNet, basic": (0.35, ""),
    "ConvNeXt": (0.3, ""),
    "PoolFormer": (0.6, ""),
    "DeiT": (0.45, ""),
    "Data2Vec": (0.55, "attention"),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_half_of_a_classifier_is_right_and_what_stays_is_named(name: str, tmp_path: Path) -> None:
    most, stays = EXPECTED[name]
    side = CLASSIFIERS[name][2]
    example = example_of((3, side, side))
    given = classifier(name)
    network = taken_up(given, example).eval()
    with torch.no_grad():
        assert torch.allclose(network(example), given(example).logits, atol=1e-5), (
            "it is the one that was given"
        )
    pruned = half_of(network, example)
    assert pruned.cuts
    left = [one for one in pruned.refused if "outputs" not in one.reason]
    assert bool(left) == bool(stays), left
    assert all(one.reason and stays in one.root for one in left)
    shape = tuple(example.shape[1:])
    assert count(pruned.network, shape).macs <= most * count(network, shape).macs
    assert _learns(pruned.network, example)
    file = tmp_path / "model.onnx"
    export_onnx(pruned.network, shape, file)
    images = torch.randn(5, *shape, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        right = pruned.network.eval()(images).numpy()
    assert np.abs(OnnxFile(file)(images.numpy()) - right).max() <= 1e-4 * np.abs(right).max()
    int8 = tmp_path / "int8.onnx"
    quantize_static(file, images.numpy(), int8, Int8(operators=operators_of("convolutions")))
    got = OnnxFile(int8)(images.numpy())
    assert np.sqrt(np.mean((got - right) ** 2)) <= 0.1 * np.sqrt(np.mean(right**2))


def _learns(network: torch.nn.Module, images: torch.Tensor) -> bool:
    network.train()
    network(images).square().mean().backward()
    gradients = [one.grad for one in network.parameters() if one.grad is not None]
    return len(gradients) > 0 and all(bool(one.isfinite().all()) for one in gradients)
