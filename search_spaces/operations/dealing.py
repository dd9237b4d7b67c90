"""Channels dealt out like cards, by their index, so that who gets one never depends on how many there are.

Papers split channels by fractions (half of them to one branch), and then another channel changes sides with
every width. Dealt in small hands, the leading channels of a wider network are those of a narrower one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Deal:
    """Who gets which channels.

    Attributes:
        hands: channels that each receiver gets in a round.
        channels: how many are dealt; the last round ends with them.
    """

    hands: tuple[int, ...]
    channels: int

    @property
    def pieces(self) -> list[tuple[int, int]]:
        """Receiver and size of each hand, in the order of the channels."""
        found, left, turn = [], self.channels, 0
        while left:
            size = min(self.hands[turn % len(self.hands)], left)
            found.append((turn % len(self.hands), size))
            left, turn = left - size, turn + 1
        return found

    @property
    def counts(self) -> tuple[int, ...]:
        """Channels of each receiver; 0 where the dealing ends before its turn."""
        pieces = self.pieces
        return tuple(sum(size for who, size in pieces if who == one) for one in range(len(self.hands)))

    @property
    def even(self) -> bool:
        """Whether there are several rounds, all of them whole: a reshape deals those, which runtimes do
        faster than slices."""
        return self.channels > sum(self.hands) and self.channels % sum(self.hands) == 0

    def split(self, x: Tensor) -> list[Tensor]:
        """The channels of each receiver that has any, from (B, channels, H, W)."""
        if self.even:
            batch, _, height, width = x.shape
            rounds = x.reshape(batch, -1, sum(self.hands), height, width).split(list(self.hands), dim=2)
            # By index: whoever folds norms traces without sizes, where what is split can't be iterated.
            return [rounds[one].reshape(batch, -1, height, width) for one in range(len(self.hands))]
        pieces = self.pieces
        hands = x.split([size for _, size in pieces], dim=1)
        return [
            torch.cat([hands[at] for at, (who, _) in enumerate(pieces) if who == one], dim=1)
            for one, count in enumerate(self.counts)
            if count
        ]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """The reverse: (B, channels, H, W) from the parts of those who have any, in their order."""
        if self.even:
            batch, _, height, width = parts[0].shape
            each = zip(parts, self.hands, strict=True)
            rounds = [part.reshape(batch, -1, size, height, width) for part, size in each]
            return torch.cat(rounds, dim=2).reshape(batch, -1, height, width)
        pieces = self.pieces
        split = [
            part.split([size for who, size in pieces if who == one], dim=1) for one, part in enumerate(parts)
        ]
        turns = [sum(who == other for other, _ in pieces[:at]) for at, (who, _) in enumerate(pieces)]
        return torch.cat([split[who][turn] for (who, _), turn in zip(pieces, turns, strict=True)], dim=1)
