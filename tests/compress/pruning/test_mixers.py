"""Networks whose mixers move channels about are pruned where they can be; the rest is named, with reasons."""

from __future__ import annotations

import pytest
import torch

from compress.pruning.prune import prune
from search_spaces.spaces.metaformer import Stage, metaformer
from tests.compress.networks import randomise_norms

REASONS = {
    "token_mlp": "its reshapes are taken to multiply the channels each time around a shortcut",
    "window": "its reshapes are taken to multiply the channels each time around a shortcut",
    "shift": "channels of stage0_block0_mlp.inner.project.conv hang together",
}


@pytest.mark.parametrize("mixer", REASONS)
def test_what_a_mixer_reshapes_is_left_alone_and_the_mlp_beside_it_is_cut(mixer: str) -> None:
    """torch-pruning alone never ends on the first two: channels are multiplied around the shortcut."""
    stage = Stage(widths=(32,), depths=(1,), mixers=(mixer,), ratios=(2,), resolution_step=1)
    space = metaformer("pruned", [stage], classes=4, input_shape=(3, 6, 5))
    network = randomise_norms(space.build(space.largest())).eval()
    found = prune(network, torch.randn(1, 3, 6, 5), keep=0.5)
    (cut,) = [one for one in found.cuts if one.root == "stage0_block0_mlp.inner.expand.conv"]
    assert (cut.channels, len(cut.kept)) == (64, 32)
    assert any(REASONS[mixer] in one.reason for one in found.refused)
    assert found.network(torch.randn(2, 3, 6, 5)).shape == (2, 4)
