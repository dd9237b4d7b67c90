"""The rungs: one way each to train the shared weights of networks that an engineer would draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from nas.rules import rule
from nas.rules.moment import Moment, Pass, Rule
from nas.rules.sampling import draw, smallest_row, taught
from search_spaces.space import SearchSpace
from search_spaces.spaces.convnet import ConvNet, ConvStage, convnet

CALIBRATION_IMAGES = 512
Blocks = Mapping[str, Mapping[str, Any]]
DENSE: Blocks = {"residual": {"gate": ("none",)}}


def by_hand_space(blocks: Blocks = DENSE) -> SearchSpace:
    """The 216 networks, and those with other blocks beside the dense ones."""
    stages = tuple(
        ConvStage(
            widths=(16 * times, 24 * times, 32 * times),
            depths=(1, 2),
            blocks=tuple(blocks),
            stride=1 if times == 1 else 2,
            options=blocks,
        )
        for times in (1, 2, 4)
    )
    return convnet("ladder", ConvNet(stages=stages, stem_strides=(2,)), classes=10, input_shape=(3, 32, 32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One way to train the shared weights.

    Attributes:
        rule: Training rule.
        settings: Settings of the training that differ from those of the networks alone.
        blocks: Blocks of the space, with their options.
        own_norms: Whether norms have scales and shifts of their own for each width.
        calibration_images: Training images for the statistics of norms.
        weights_of: Rung whose weights are judged again, climbed before; empty trains them.
    """

    rule: Rule
    settings: Mapping[str, Any] = field(default_factory=dict)
    blocks: Blocks = field(default_factory=lambda: DENSE)
    own_norms: bool = False
    calibration_images: int = CALIBRATION_IMAGES
    weights_of: str = ""


def distilled(moment: Moment, passes: int = 4, share: float = 1.0) -> list[Pass]:
    """The largest on the labels, and the smallest and random ones on its outputs from the first step on.

    Args:
        moment: state of the training.
        passes: passes of a step.
        share: share of the largest's outputs in what the others learn from; labels have the rest.
    """
    students = [smallest_row(moment.space, moment.rng), *draw(moment, passes - 2)]
    first, *others = taught(moment.space, students)
    return [first, *(replace(one, teacher_weight=share) for one in others)]


def largest_first(moment: Moment, until: float, then: Rule) -> list[Pass]:
    """The largest alone until a share of the training is done."""
    return taught(moment.space, []) if moment.progress < until else then(moment)


def random_ones(moment: Moment, passes: int) -> list[Pass]:
    """So many random networks a step, on the labels."""
    archs = [moment.space.to_arch(row) for row in draw(moment, passes)]
    return [Pass(arch=arch, weight=1 / passes) for arch in archs]


def sandwich(**options: Any) -> Rule:
    """The rule of that name: labels throughout, unless ``labels`` is a smaller share."""
    return rule("sandwich", {"labels": 1.0} | options)


FIRST = Rung(rule=distilled)
"""The compute of all rungs is that of this one."""

CHANGED: Mapping[str, Mapping[str, Any]] = {
    "learning rate x0.5": {"settings": {"learning_rate": 2e-3}},
    "learning rate x2": {"settings": {"learning_rate": 8e-3}},
    "batch of 64": {"settings": {"batch_size": 64}},
    "batch of 256": {"settings": {"batch_size": 256}},
    "no clipping": {"settings": {"gradient_clip": 1e9}},
    "own norms": {"own_norms": True},
}
"""What is changed alone, whichever rule it is."""

BESIDE: Mapping[str, Blocks] = {
    "+ depthwise": {"depthwise": {"kernel": (3,)}},
    "+ kernels": {"depthwise": {"kernel": (3, 5, 7)}},
    "+ pooling": {"pooling": {}},
    "+ mbconv": {"mbconv": {"kernel": (3,), "expansion": (4,), "gate": ("none",)}},
    "+ convnext": {"convnext": {"kernel": (7,), "ratio": (4,)}},
}
"""Blocks beside the dense ones. Attention is not among them: it takes no width of 24."""

RUNGS: Mapping[str, Rung] = {
    "distilled": FIRST,
    "distilled, 2 passes": Rung(rule=partial(distilled, passes=2)),
    "distilled, 3 passes": Rung(rule=partial(distilled, passes=3)),
    "distilled, half labels": Rung(rule=partial(distilled, share=0.5)),
    "distilled, largest first": Rung(rule=partial(largest_first, until=0.2, then=distilled)),
    "labels": Rung(rule=sandwich()),
    "labels for 0.2": Rung(rule=sandwich(labels=0.2)),
    "labels for 0.5": Rung(rule=sandwich(labels=0.5)),
    "labels for 0.8": Rung(rule=sandwich(labels=0.8)),
    "labels, 2 passes": Rung(rule=sandwich(random_subnets=0)),
    "labels, 3 passes": Rung(rule=sandwich(random_subnets=1)),
    "labels, largest first": Rung(rule=partial(largest_first, until=0.2, then=sandwich())),
    "uniform": Rung(rule=rule("uniform")),
    "uniform, 1 pass": Rung(rule=partial(random_ones, passes=1)),
    "uniform, 2 passes": Rung(rule=partial(random_ones, passes=2)),
    "labels, calibrated on 128": Rung(rule=sandwich(), calibration_images=128, weights_of="labels"),
    "labels, calibrated on 2048": Rung(rule=sandwich(), calibration_images=2048, weights_of="labels"),
    **{f"distilled, {what}": Rung(rule=distilled, **change) for what, change in CHANGED.items()},
    **{f"labels, {what}": Rung(rule=sandwich(), **change) for what, change in CHANGED.items()},
    **{f"labels, {what}": Rung(rule=sandwich(), blocks=DENSE | more) for what, more in BESIDE.items()},
}
