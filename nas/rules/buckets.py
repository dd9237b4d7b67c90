"""Cost-bucketed adaptive sampling: sizes whose loss is still falling are drawn more often.

The idea of "ShiftNAS: Improving One-shot NAS via Probability Shift" (Zhang et al., ICCV 2023): the space is
cut into regions of cost, and the probability of a region follows how much its subnets' performance still
moves. Its trained architecture generator is replaced by drawing archs of a wanted size, which a cost model
makes cheap. The update of the probabilities is ours (its code is not public): the relative fall of a bucket's
loss from the older to the newer half of the history, which is kept in the checkpoint.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nas.rules.moment import Count, Floats, Moment, Pass, Share
from nas.rules.registry import RULES
from nas.rules.sampling import draw_at, positions, taught

_LEAST = 8  # losses in each half before a bucket's fall means anything
_MANY = 50  # losses a bucket; with a chance of 5 % each, one that holds archs is then seen almost surely


@RULES.register("cost_buckets", needs={"sizes"})
def cost_buckets(
    moment: Moment,
    *,
    random_subnets: Count = 2,
    buckets: Annotated[int, Field(ge=2)] = 6,
    even: Share = 0.3,
) -> list[Pass]:
    """The largest on the labels, and ``random_subnets + 1`` subnets from buckets of size on its outputs.

    Args:
        moment: state of the training, with a size.
        random_subnets: students trained in each step, less one: as many passes as the sandwich has.
        buckets: regions of equal width in log size.
        even: share of the probability that is spread evenly, so that no bucket is forgotten.

    Raises:
        ValueError: the moment has no size.
    """
    chances = probabilities(moment, buckets, even)
    n = random_subnets + 1
    chosen = moment.rng.choice(buckets, size=n, p=chances)
    wanted = (chosen + moment.rng.random(n)) / buckets
    return taught(moment.space, draw_at(moment, wanted))


def probabilities(moment: Moment, buckets: int, even: float) -> Floats:
    """The chance of each bucket, (buckets,), from the history's losses of taught passes.

    A bucket that was hardly seen yet counts as falling as fast as the fastest; one that holds no arch, which
    shows when all others were seen often, gets nothing but its even share.
    """
    if moment.size is None:
        raise ValueError("cost_buckets needs a cost model; set train.sampling to 'size'")
    history = moment.history
    low, high = positions(moment, moment.space.ends)
    sizes, losses = history.sizes[history.taught], history.losses[history.taught]
    share = (np.log(np.maximum(sizes, 1.0)) - low) / max(high - low, 1e-9)
    place = np.clip((share * buckets).astype(np.int64), 0, buckets - 1)
    newer = np.arange(len(losses)) >= len(losses) // 2
    cells = place + buckets * newer
    counts = np.bincount(cells, minlength=2 * buckets).reshape(2, buckets)
    sums = np.bincount(cells, weights=losses, minlength=2 * buckets).reshape(2, buckets)
    known = (counts >= _LEAST).all(axis=0)
    means = sums / np.maximum(counts, 1)
    fall = np.where(known, np.maximum(0, means[0] - means[1]) / np.maximum(np.abs(means[0]), 1e-9), 0)
    fall = np.where(known, fall, fall.max() if fall.any() else 1.0)
    fall[_empty(counts.sum(axis=0), buckets)] = 0
    total = fall.sum()
    shift = fall / total if total > 0 else np.full(buckets, 1 / buckets)
    return np.asarray((1 - even) * shift + even / buckets)


def _empty(counts: NDArray[np.int64], buckets: int) -> NDArray[np.bool_]:
    """Buckets that a long history never saw."""
    return (counts == 0) & (counts.sum() >= _MANY * buckets)
