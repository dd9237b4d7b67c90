"""Gates weigh channels as their papers say."""

from __future__ import annotations

import pytest
import torch

from search_spaces.gates import GATES
from search_spaces.gates.registry import gated
from tests.search_spaces.blocks.references import channel_attention, drawn, squeeze_excitation

REFERENCES = {"se": squeeze_excitation, "eca": channel_attention}


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("channels", [1, 12, 64])
def test_it_computes_its_formula(name: str, channels: int) -> None:
    (gate,) = gated(name, channels).values()
    x = torch.randn(3, channels, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = REFERENCES[name](x, drawn(gate).state_dict())
    torch.testing.assert_close(gate(x), expected, atol=1e-12, rtol=1e-12)
    assert 0.05 < (expected / x).mean() < 0.95


def test_none_is_no_module_and_others_have_to_exist() -> None:
    assert gated("none", 8) == {}
    with pytest.raises(ValueError, match="unknown gate 'sa'. Did you mean 'se'"):
        gated("sa", 8)
