"""The order in which a race takes its networks, before any is trained: a sieve of zero-cost proxies."""

from __future__ import annotations

import time
from dataclasses import replace

from nas.proxies import sieve
from results.records import Scouted
from runners.stages.racing import Racing
from runners.stages.starters import family
from search_spaces.choice import Value

_IMAGES = 64


def sieved(work: Racing) -> Racing:
    """The race with its candidates as the recipe's proxies order them, within each family.

    Between families an order of untrained networks says nothing that is known to hold: the places that a
    family had among the candidates stay its own. Without proxies in the recipe all stays as it is.

    Raises:
        ValueError: a proxy has no score for any candidate.
    """
    proxies, candidates = work.recipe.race.sieve, list(work.candidates)
    if not proxies:
        return work
    began = time.monotonic()
    images, labels = (one.to(work.device) for one in work.data.training_batch(_IMAGES))
    found = sieve(
        [one.arch for one in candidates],
        lambda arch: work.space.build(arch).to(work.device),
        [(one.kind, one.settings) for one in proxies],
        images,
        labels,
        work.data.task.loss,
        seed=work.seed,
    )
    for problem in found.problems:
        work.console.warn(problem)
    work.console.say(
        f"{len(candidates)} networks ordered within their families by {', '.join(map(str, proxies))} "
        f"({time.monotonic() - began:.0f} s)"
    )
    return replace(work, candidates=within_families(candidates, [candidates[at] for at in found.order]))


def within_families(places: list[Scouted], order: list[Scouted]) -> list[Scouted]:
    """Networks in another order, each family in the places that it had.

    Args:
        places: the networks as they were.
        order: the same networks, best first.
    """
    waiting: dict[Value | None, list[Scouted]] = {}
    for one in order:
        waiting.setdefault(family(one.arch), []).append(one)
    return [waiting[family(one.arch)].pop(0) for one in places]
