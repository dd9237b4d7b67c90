"""Gates weigh channels as their papers say, fold, are trained and exported, and keep the prefix rule."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from compress.onnx.export import onnx_bytes
from compress.onnx.fuse import fuse
from nas.supernet.prefix import check_prefix_rule
from search_spaces.gates import GATES
from search_spaces.gates.registry import gated
from search_spaces.spaces.convnet import ConvNet, ConvStage, convnet
from tests.search_spaces.blocks.references import (
    Weights,
    channel_attention,
    drawn,
    hard_sigmoid,
    squeeze_excitation,
)
from tests.search_spaces.mixers.references.basis import norm, under


def compact(x: Tensor, own: Weights) -> Tensor:
    shares = hard_sigmoid(x.mean(dim=(2, 3)) @ own["mix.weight"][:, :, 0, 0].T + own["mix.bias"])
    return x * shares[:, :, None, None]


def local(x: Tensor, own: Weights) -> Tensor:
    """Channel by channel, row by row and column by column: a weighted sum of the means around."""
    result = x.clone()
    for name, lost in (("rows", 3), ("columns", 2)):
        means = x.mean(dim=lost)  # (B, C, L)
        taps = own[f"{name}.0.weight"].flatten(1)
        summed = torch.zeros_like(means)
        for at in range(means.shape[2]):
            for tap in range(taps.shape[1]):
                other = at + tap - taps.shape[1] // 2
                if 0 <= other < means.shape[2]:
                    summed[:, :, at] += taps[:, tap] * means[:, :, other]
        shares = hard_sigmoid(norm(summed[..., None], under(own, f"{name}.1")))[..., 0]
        result = result * (shares[:, :, :, None] if name == "rows" else shares[:, :, None, :])
    return result


def coordinate(x: Tensor, own: Weights) -> Tensor:
    result = x.clone()
    for name, lost in (("rows", 3), ("columns", 2)):
        for at in range(x.shape[5 - lost]):
            mean = x.mean(dim=lost)[:, :, at]
            hidden = norm((mean @ own["squeeze.weight"][:, :, 0, 0].T)[..., None, None], under(own, "norm"))
            hidden = (hidden * hard_sigmoid(hidden))[..., 0, 0]  # the hard swish
            share = hard_sigmoid(hidden @ own[f"{name}.weight"][:, :, 0, 0].T + own[f"{name}.bias"])
            place = (slice(None), slice(None), *((at, slice(None)) if name == "rows" else (slice(None), at)))
            result[place] = result[place] * share[:, :, None]
    return result


REFERENCES = {
    "se": squeeze_excitation,
    "se_16": squeeze_excitation,
    "se_24": squeeze_excitation,
    "eca": channel_attention,
    "cca": compact,
    "ela": local,
    "ela5": local,
    "coordinate": coordinate,
}


def images(channels: int) -> Tensor:
    return torch.randn(3, channels, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def made(name: str, channels: int) -> nn.Module:
    (gate,) = gated(name, channels).values()
    return drawn(gate)


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("channels", [1, 12, 64])
def test_it_computes_its_formula(name: str, channels: int) -> None:
    gate, x = made(name, channels), images(channels)
    expected = REFERENCES[name](x, gate.state_dict())
    torch.testing.assert_close(gate(x), expected, atol=1e-12, rtol=1e-12)
    assert 0.05 < (expected / x).mean() < 0.95


@pytest.mark.parametrize("name", GATES)
def test_what_a_channel_does_never_depends_on_the_width(name: str) -> None:
    widths = (8, 16, 48)
    stage = ConvStage(
        widths=widths, depths=(1,), blocks=("residual",), options={"residual": {"gate": (name,)}}
    )
    space = convnet("gate", ConvNet(stages=(stage,), stem_strides=(1,)), classes=3, input_shape=(3, 8, 8))
    assert check_prefix_rule(space, networks=1) > 0


@pytest.mark.parametrize("name", GATES)
def test_its_norms_fold_and_its_weights_are_trained(name: str) -> None:
    gate, x = made(name, 12), images(12)
    folded = fuse(gate)
    assert not any(isinstance(part, _BatchNorm) for part in folded.modules())
    torch.testing.assert_close(folded(x), gate(x), atol=1e-9, rtol=1e-9)
    gate.train()(x).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in gate.parameters())


@pytest.mark.parametrize("name", GATES)
def test_its_file_computes_the_same_at_any_batch(name: str) -> None:
    gate = made(name, 12).float()
    session = onnxruntime.InferenceSession(onnx_bytes(gate, (12, 5, 3)), providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        x = images(12).float()[:batch]
        (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        np.testing.assert_allclose(found, gate(x).detach().numpy(), rtol=1e-4, atol=1e-4)


def test_none_is_no_module_and_others_have_to_exist() -> None:
    assert gated("none", 8) == {}
    with pytest.raises(ValueError, match="unknown gate 'sa'. Did you mean 'se'"):
        gated("sa", 8)
