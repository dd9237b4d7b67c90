"""Learning blocks from a teacher's own inputs and outputs, all at once, and what their errors say.

"Block-wisely Supervised Neural Architecture Search with Knowledge Distillation" (DNA, Li et al., CVPR 2020):
a block that is given the teacher's input and has to give its output learns by itself, so that hundreds of
alternatives are trained in the time of a few short trainings, and the errors rank them. "LANA" (Molchanov et
al., ECCV 2022) and "Puzzle" (Bercovich et al., 2024) add the errors up and let an integer program choose
under a latency limit: ``nas.search.exact.solve`` with ``loss_terms``. The network that is put together from
learned blocks is where its training starts.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas.blockwise.lessons import Lesson, Teacher
from search_spaces.reference.extremes import Term
from search_spaces.space import Arch

Students = dict[str, dict[int, nn.Sequential]]
"""Learned blocks by the name of their span and the index of the alternative, without the teacher's own."""

Errors = dict[str, NDArray[np.float64]]
"""Errors of the alternatives of each span, (alternatives,), by its name."""


def learn(
    teacher: Teacher,
    batches: Iterable[Tensor],
    *,
    steps: int,
    lr: float = 2e-3,
    seed: int = 0,
    only: Collection[str] | None = None,
) -> Students:
    """Trains every alternative that fits to do what the teacher's block does, from scratch.

    Each minimises the squared error over the variance of the teacher's output, by Adam with a cosine to zero;
    the teacher runs once a batch for all of them. The spans of a space may be shared out: students of some
    are as they would be among all.

    Args:
        teacher: trained network.
        batches: images as the teacher takes them, (N, C, H, W), on its device; training stops where they end.
        steps: optimizer steps, one a batch.
        lr: first learning rate.
        seed: seed of the weights; those of an alternative follow from its place alone.
        only: names of the spans to learn; all by default.

    Raises:
        ValueError: no steps, or no batches.
    """
    lessons = _up_to(teacher.lessons, only)
    students = _fresh(lessons, seed, only)
    device = next(teacher.network.parameters()).device
    modules = [module.to(device).train() for ones in students.values() for module in ones.values()]
    parameters = [parameter for module in modules for parameter in module.parameters()]
    if steps < 1:
        raise ValueError(f"{steps} steps teach nothing; give 1 or more")
    optimizer = torch.optim.Adam(parameters, lr) if parameters else None
    done = 0
    for done, images in enumerate(itertools.islice(batches, steps), start=1):
        flow = teacher.flow(lessons, images)
        for lesson, (given, wanted) in zip(lessons, flow, strict=True):
            scale = 1 / wanted.var().clamp(min=1e-12)
            for module in students.get(lesson.name, {}).values():
                loss = scale * (module(given) - wanted).square().mean()
                if loss.requires_grad:  # pooling alone has nothing to learn
                    loss.backward()
        if optimizer is not None:
            optimizer.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * done / steps)) / 2
            optimizer.step()
            optimizer.zero_grad()
    if not done:
        raise ValueError("there are no batches to learn from")
    return students


def _up_to(lessons: list[Lesson], only: Collection[str] | None) -> list[Lesson]:
    """The lessons up to the last that is asked for: the teacher need not run any further."""
    if only is None:
        return lessons
    return lessons[: 1 + max((at for at, one in enumerate(lessons) if one.name in only), default=-1)]


def _fresh(lessons: list[Lesson], seed: int, only: Collection[str] | None) -> Students:
    """Modules with new weights for every alternative that fits, but for the teacher's and the empty one."""
    students: Students = {}
    with torch.random.fork_rng(devices=[]):
        for place, lesson in enumerate(lessons):
            if only is not None and lesson.name not in only:
                continue
            for at in lesson.fitting:
                layers = lesson.span.alternatives[at]
                if at != lesson.teacher and layers:
                    torch.manual_seed(int(np.random.default_rng([seed, place, at]).integers(2**63)))
                    made = nn.Sequential(*(layer.build() for layer in layers))
                    students.setdefault(lesson.name, {})[at] = made
    return students


@torch.no_grad()
def errors(
    teacher: Teacher,
    students: Students,
    batches: Iterable[Tensor],
    *,
    only: Collection[str] | None = None,
) -> Errors:
    """The normalised error of each alternative on images that nobody learned from.

    The squared error over the squared deviation of the teacher's output from its mean: 0 for the teacher's
    own block, 1 for a block that gives the mean whatever it sees, and what a block costs that is left out. In
    eval mode.

    Args:
        teacher: the one they learned from.
        students: what ``learn`` gave; of several calls, put together.
        batches: images, (N, C, H, W).
        only: names of the spans to judge; all by default.

    Returns:
        For each span, (alternatives,): infinite for those that do not fit, or were not learned.
    """
    lessons = _up_to(teacher.lessons, only)
    for module in (module for ones in students.values() for module in ones.values()):
        module.eval()
    judged = [lesson for lesson in lessons if only is None or lesson.name in only]
    wrong = {lesson.name: np.zeros(len(lesson.span.alternatives)) for lesson in judged}
    spread = dict.fromkeys(wrong, 0.0)
    for images in batches:
        for lesson, (given, wanted) in zip(lessons, teacher.flow(lessons, images), strict=True):
            if lesson.name not in wrong:
                continue
            spread[lesson.name] += float((wanted - wanted.mean()).square().sum())
            for at in lesson.fitting:
                if at != lesson.teacher:
                    own = _student(lesson, students, at)
                    error = math.inf if own is None else float((own(given) - wanted).square().sum())
                    wrong[lesson.name][at] += error
    for lesson in judged:
        found = wrong[lesson.name] / max(spread[lesson.name], 1e-12)
        fits = np.isin(np.arange(len(found)), lesson.fitting)
        wrong[lesson.name] = np.where(fits, found, np.inf)
    return wrong


def _student(lesson: Lesson, students: Students, at: int) -> nn.Sequential | None:
    """A learned alternative; one without layers needs no learning."""
    if at in lesson.fitting and not lesson.span.alternatives[at]:
        return nn.Sequential()
    return students.get(lesson.name, {}).get(at)


def loss_terms(teacher: Teacher, found: Mapping[str, NDArray[np.float64]]) -> list[Term]:
    """The errors as terms of a sum over the choices of the space: what ``nas.search.exact.solve`` takes.

    The sum of an arch is infinite where some block of it does not fit the teacher's shapes, such as one of
    another width: those cannot be ranked this way.
    """
    return [
        Term(columns=lesson.span.columns, values=found[lesson.name][lesson.span.standing])
        for lesson in teacher.lessons
    ]


def assemble(teacher: Teacher, students: Students, arch: Arch) -> nn.Module:
    """The network of an arch from the teacher's blocks and learned ones, in training mode, weights copied.

    Raises:
        ValueError: a block of it was not learned.
    """
    network = teacher.space.build(arch)
    row = teacher.space.to_row(arch)
    for lesson in teacher.lessons:
        at = int(lesson.span.standing[tuple(row[list(lesson.span.columns)])])
        layers = lesson.span.alternatives[at]
        block = teacher.block(lesson) if at == lesson.teacher else _student(lesson, students, at)
        if block is None:
            raise ValueError(
                f"what arch {dict(arch)} has at {lesson.name!r} was not learned: {layers[0].key}; right "
                "are archs with the teacher's widths"
            )
        for layer, module in zip(layers, block, strict=True):
            network.get_submodule(layer.name).load_state_dict(copy.deepcopy(module.state_dict()))
    return network.train()
