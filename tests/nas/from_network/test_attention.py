"""PyTorch's attention with a layer for each projection computes what it did, in every way of calling it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.from_network.attention import SeparateAttention, open_attention


def opened(**options: Any) -> tuple[nn.MultiheadAttention, SeparateAttention]:
    torch.manual_seed(0)
    given = nn.MultiheadAttention(12, 3, dtype=torch.float64, **options).eval()
    for parameter in given.parameters():
        nn.init.normal_(parameter)
    return given, SeparateAttention(given)


def inputs(*sizes: int) -> Tensor:
    return torch.randn(*sizes, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"bias": False}, {"kdim": 12, "vdim": 12}])
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("batched", [True, False])
def test_outputs_and_weights_are_pytorchs(options: dict[str, Any], need_weights: bool, batched: bool) -> None:
    given, ours = opened(**options)
    query, key = (inputs(2, 4), inputs(2, 4)) if batched else (inputs(4), inputs(5))
    expected = given(query, key, key * 2, need_weights=need_weights)
    got = ours(query, key, key * 2, need_weights=need_weights)
    assert torch.allclose(got[0], expected[0], atol=1e-12)
    assert (got[1] is None) == (expected[1] is None)
    if expected[1] is not None:
        assert torch.allclose(got[1], expected[1], atol=1e-12)


def test_other_widths_of_keys_and_values() -> None:
    given, ours = opened(kdim=5, vdim=7, batch_first=True)
    keys, values = torch.randn(2, 3, 5, dtype=torch.float64), torch.randn(2, 3, 7, dtype=torch.float64)
    assert torch.allclose(
        ours(inputs(2, 4), keys, values)[0], given(inputs(2, 4), keys, values)[0], atol=1e-12
    )


@pytest.mark.parametrize("need_weights", [True, False])
def test_masks_are_pytorchs(need_weights: bool) -> None:
    given, ours = opened(batch_first=True)
    x = inputs(2, 4)
    causal = torch.triu(torch.ones(4, 4, dtype=torch.bool), 1)
    padding = torch.tensor([[False, False, False, True], [False, True, False, False]])
    added = torch.randn(2 * 3, 4, 4, dtype=torch.float64)  # for each image and head
    for masks in (
        {"attn_mask": causal},
        {"key_padding_mask": padding},
        {"attn_mask": causal, "key_padding_mask": padding},
        {"attn_mask": added},
    ):
        expected = given(x, x, x, need_weights=need_weights, **masks)[0]
        assert torch.allclose(ours(x, x, x, need_weights=need_weights, **masks)[0], expected, atol=1e-12)


def test_the_whole_of_pytorchs_transformers_computes_the_same() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(12, 2, 16, dropout=0.0, batch_first=True, dtype=torch.float64)
    encoder = nn.TransformerEncoder(layer, 2).eval()
    x = inputs(2, 4)
    padding = torch.tensor([[False, False, False, True], [False] * 4])
    plain, padded = encoder(x), encoder(x, src_key_padding_mask=padding)
    open_attention(encoder)
    assert not any(isinstance(module, nn.MultiheadAttention) for module in encoder.modules())
    with torch.no_grad():  # where PyTorch would take its shortcut
        assert torch.allclose(encoder(x), plain, atol=1e-12)
        again = encoder(x, src_key_padding_mask=padding)
    seen = ~padding  # what stands at padded places is nothing, in PyTorch zero
    assert torch.allclose(again[seen], padded[seen], atol=1e-12)


def test_attention_with_added_keys_stays() -> None:
    holder = nn.Sequential(nn.MultiheadAttention(12, 3, add_bias_kv=True))
    assert isinstance(open_attention(holder)[0], nn.MultiheadAttention)  # type: ignore[index]
