"""Several input sizes in one training: each step, the subnets that teach nobody see scaled images.

As in BigNAS (Yu et al., ECCV 2020) and OFA (Cai et al., ICLR 2020, section 3.3) sizes are drawn step by step;
as in BigNAS the teacher sees the full image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nas.rules.moment import Moment, Pass, Rule


def at_resolutions(rule: Rule, resolutions: Sequence[tuple[int, int]]) -> Rule:
    """The same rule with input sizes drawn for its passes.

    Args:
        rule: any.
        resolutions: (height, width) to draw from, uniformly; the full size should be one of them.
    """

    def scaled(moment: Moment) -> list[Pass]:
        passes = rule(moment)
        full = {one.teacher for one in passes}
        largest = moment.space.largest()
        chosen = moment.rng.integers(len(resolutions), size=len(passes))
        return [
            one if index in full or one.arch == largest else replace(one, resolution=resolutions[which])
            for index, (one, which) in enumerate(zip(passes, chosen, strict=True))
        ]

    return scaled
