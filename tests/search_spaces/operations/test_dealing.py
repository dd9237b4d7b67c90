"""Channels dealt out: whose each is, at any width, and back in their places."""

from __future__ import annotations

import pytest
import torch

from search_spaces.operations.dealing import Deal


def owner(channel: int, hands: tuple[int, ...]) -> int:
    """Who gets a channel, counted hand by hand."""
    who, left = 0, hands[0]
    for _ in range(channel):
        left -= 1
        if not left:
            who = (who + 1) % len(hands)
            left = hands[who]
    return who


@pytest.mark.parametrize("hands", [(8, 8), (1, 2, 2, 1), (8, 4, 2, 2), (3,)])
@pytest.mark.parametrize("channels", [2, 6, 13, 16, 18, 48, 53])
def test_a_channel_is_dealt_by_its_index_alone(hands: tuple[int, ...], channels: int) -> None:
    """Whether the rounds are whole, which are dealt another way, or the last one is not."""
    deal = Deal(hands, channels)
    x = torch.randn(2, channels, 3, 4)
    parts = deal.split(x)
    owners = [owner(channel, hands) for channel in range(channels)]
    assert deal.counts == tuple(owners.count(one) for one in range(len(hands)))
    assert len(parts) == len(set(owners))
    for one, part in enumerate(parts):
        assert torch.equal(part, x[:, [at for at, who in enumerate(owners) if who == one]])
    assert torch.equal(deal.join(parts), x)
