"""The networks that start a race."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest

from results.records import Scouted
from search_spaces.choice import Value
from search_spaces.space import Arch


def starters(candidates: Sequence[Scouted], n: int) -> list[Scouted]:
    """The networks of the first rung: half of them the first of each family in turn, half evenly spread.

    More multiply-accumulates at equal latency is the best that is known before training, within a family.
    Between families it says less (depthwise networks do more with less arithmetic), so the first of each
    gets its chance, and then the second of each.
    """
    families: dict[Value | None, list[Scouted]] = {}
    for one in candidates:
        families.setdefault(family(one.arch), []).append(one)
    in_turn = [one for turn in zip_longest(*families.values()) for one in turn if one is not None]
    first = in_turn[: -(-n // 2)]
    rest = [one for one in candidates if one not in first]
    wanted = n - len(first)
    places = [round((place + 0.5) * len(rest) / wanted - 0.5) for place in range(wanted)] if rest else []
    return [*first, *(rest[place] for place in dict.fromkeys(places))]


def family(arch: Arch) -> Value | None:
    """The stuff that a network is mostly made of: the word (block, mixer) that over half of its choices took.

    None where no word did, or no choice is one of words: networks that mix are a family of their own.
    """
    words = Counter(value for value in arch.values() if isinstance(value, str))
    word, taken = max(words.items(), key=lambda one: one[1], default=(None, 0))
    return word if 2 * taken > words.total() else None
