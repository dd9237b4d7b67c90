"""Networks whose mixers move channels about are pruned where they can be; the rest is named, with reasons."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from compress.pruning.prune import prune
from search_spaces.mixers import Mixer
from search_spaces.mixers.registry import MIXERS, register_mixer
from search_spaces.operations.dealing import Deal
from search_spaces.spaces.metaformer import Stage, metaformer
from search_spaces.spaces.presets import preset
from tests.compress.networks import randomise_norms


class Moved(nn.Module):
    """Of every eight channels, seven looked up beside the pixel, by cutting and joining the map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.deal = Deal((1,) * 8, channels)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.deal.split(x)
        return self.deal.join([*(pad(part, (1, -1, 0, 0)) for part in parts[:7]), parts[7]])


ENDLESS = "its reshapes are taken to multiply the channels each time around a shortcut"
REASONS = {
    "token_mlp": ENDLESS,
    "window": ENDLESS,
    "inception_dw": ENDLESS,
    "shift": "the network does not run without them",
    "moved": "channels of stage0_block0_mlp.inner.project.conv hang together",
}


@pytest.mark.parametrize("mixer", REASONS)
def test_what_a_mixer_moves_is_left_alone_and_the_mlp_beside_it_is_cut(
    mixer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch-pruning alone never ends on some: channels are multiplied around the shortcut."""
    monkeypatch.setattr(MIXERS, "_entries", dict(MIXERS._entries))
    register_mixer(Mixer(name="moved", make=Moved))
    stage = Stage(widths=(32,), depths=(1,), mixers=(mixer,), ratios=(2,), resolution_step=1)
    space = metaformer("pruned", [stage], classes=4, input_shape=(3, 6, 5))
    network = randomise_norms(space.build(space.largest())).eval()
    found = prune(network, torch.randn(1, 3, 6, 5), keep=0.5)
    (cut,) = [one for one in found.cuts if one.root == "stage0_block0_mlp.inner.expand.conv"]
    assert (cut.channels, len(cut.kept)) == (64, 32)
    assert any(REASONS[mixer] in one.reason for one in found.refused), found.refused
    assert found.network(torch.randn(2, 3, 6, 5)).shape == (2, 4)


def test_a_scan_that_moves_channels_on_without_an_end_is_left_alone() -> None:
    """Each time around the shortcut torch-pruning comes to other places of the signal."""
    space = preset("signal-short", classes=4, input_shape=(1, 1, 64), mixers=("state_space",))
    network = randomise_norms(space.build(space.smallest())).eval()
    found = prune(network, torch.randn(1, 1, 1, 64), keep=0.5)
    assert any("move the channels on each time" in one.reason for one in found.refused), found.refused
    assert found.cuts
    assert found.network(torch.randn(2, 1, 1, 64)).shape == (2, 4)
