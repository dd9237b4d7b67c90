"""The networks that start a race: one of each family, then more of the families that do best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from results.records import Scouted
from search_spaces.choice import Value
from search_spaces.space import Arch, Rows, SearchSpace

T = TypeVar("T")


def firsts(candidates: Sequence[Scouted]) -> list[Scouted]:
    """The first of each family; where there is no family, the first of all.

    More multiply-accumulates at equal latency is the best that is known before training, within a family.
    Between families it says less (depthwise networks do more with less arithmetic), so the first of each
    gets its chance. Networks that mix kinds stand for none, and wait.
    """
    found: dict[Value, Scouted] = {}
    for one in candidates:
        kind = family(one.arch)
        if kind is not None:
            found.setdefault(kind, one)
    return list(found.values()) or list(candidates[:1])


def more(candidates: Sequence[Scouted], tried: Sequence[Scouted], n: int) -> list[Scouted]:
    """The n networks that follow: half of them of the family that did best, half of the rest of the next.

    The largest of a family may be of an odd shape, so one network of it says little: the second and the third
    family have networks too. Half of a family's are the next by size, half are evenly spread over its rest.

    Args:
        candidates: networks that were not trained yet, the likeliest first.
        tried: networks that were, best first.
        n: number of networks wanted.
    """
    waiting: dict[Value | None, list[Scouted]] = {family(one.arch): [] for one in tried}
    for one in candidates:
        waiting.setdefault(family(one.arch), []).append(one)
    found: list[Scouted] = []
    while len(found) < min(n, len(candidates)):
        for of_family in waiting.values():
            taken = _some(of_family, -(-(n - len(found)) // 2))
            found += taken
            of_family[:] = [one for one in of_family if one not in taken]
    return found


def _some(ordered: Sequence[Scouted], n: int) -> list[Scouted]:
    """Networks, n at most: half of them the first ones, the others evenly spread over the rest."""
    first = list(ordered[: -(-n // 2)])
    rest, wanted = ordered[len(first) :], n - len(first)
    places = [round((place + 0.5) * len(rest) / wanted - 0.5) for place in range(wanted)] if rest else []
    return [*first, *(rest[place] for place in dict.fromkeys(places))]


def in_turn(ordered: Sequence[T], kinds: Sequence[Hashable]) -> list[T]:
    """Things of several kinds, each kind in its order: the first of each, then the second of each."""
    seen: Counter[Hashable] = Counter()
    turns = []
    for kind in kinds:
        turns.append(seen[kind])
        seen[kind] += 1
    return [one for _, one in sorted(zip(turns, ordered, strict=True), key=lambda pair: pair[0])]


def family(arch: Arch) -> Value | None:
    """The stuff that a network is mostly made of: the word (block, mixer) that over half of its choices took.

    None where no word did, or no choice is one of words: networks that mix are a family of their own.
    """
    words = Counter(value for value in arch.values() if isinstance(value, str))
    word, taken = max(words.items(), key=lambda one: one[1], default=(None, 0))
    return word if 2 * taken > words.total() else None


def families(space: SearchSpace, rows: Rows) -> NDArray[np.int64]:
    """``family`` of many archs, (n,): equal numbers are equal families, -1 is none."""
    words = sorted({value for choice in space.choices for value in choice.values if isinstance(value, str)})
    counted = np.zeros((len(rows), len(words) + 1), dtype=np.int64)  # the last for values that are no words
    for column, choice in enumerate(space.choices):
        word = [words.index(value) if isinstance(value, str) else len(words) for value in choice.values]
        counted[np.arange(len(rows)), np.array(word)[rows[:, column]]] += 1
    counted = counted[:, :-1]
    if not words:
        return np.full(len(rows), -1)
    most = counted.argmax(axis=1)
    return np.where(2 * counted.max(axis=1) > counted.sum(axis=1), most, -1)
