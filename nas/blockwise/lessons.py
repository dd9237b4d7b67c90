"""What is to be learned from a teacher: for each span its own block, and the alternatives that fit there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from nas.blockwise.spans import Span, spans
from search_spaces.layer import Layer
from search_spaces.reference.extremes import Term
from search_spaces.space import Arch, SearchSpace, Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """A span as the teacher fills it.

    Attributes:
        span: its place and all alternatives.
        teacher: the teacher's alternative, by index.
        fitting: alternatives that turn the teacher's input shape into its output shape, the teacher's among
            them: only these can learn from it. Where the teacher has nothing, nothing alone fits.
    """

    span: Span
    teacher: int
    fitting: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name of the span."""
        return self.span.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Teacher:
    """A trained network of a space of slots.

    Attributes:
        space: the space.
        arch: its arch.
        network: the network, whose modules have the names of the arch's layers.

    Raises:
        ValueError: no arch of the space, or a network that lacks a layer of the arch.
    """

    space: SearchSpace
    arch: Arch
    network: nn.Module

    def __post_init__(self) -> None:
        known = dict(self.network.named_modules())
        missing = [layer.name for layer in self.space.lower(self.arch) if layer.name not in known]
        if missing:
            raise ValueError(
                f"the teacher has no module {missing[0]!r}, which its arch has; right is a network that "
                f"space.build(arch) or supernet.extract(arch) made"
            )

    @property
    def lessons(self) -> list[Lesson]:
        """What the alternatives of each span learn, in order of execution."""
        return lessons_of(self.space, self.arch)

    def block(self, lesson: Lesson) -> nn.Sequential:
        """The teacher's own block of a lesson: its modules, not copies."""
        own = lesson.span.alternatives[lesson.teacher]
        return nn.Sequential(*(self.network.get_submodule(layer.name) for layer in own))

    @torch.no_grad()
    def check_chain(self, images: Tensor) -> None:
        """Whether the network is its blocks one after another.

        Args:
            images: a few, (N, C, H, W).

        Raises:
            ValueError: it does something else between them.
        """
        training = self.network.training
        whole = self.network.eval()(images)
        self.network.train(training)
        chained = self.flow(self.lessons, images)[-1][1]
        if whole.shape != chained.shape or not torch.allclose(whole, chained, rtol=1e-3, atol=1e-4):
            raise ValueError(
                f"the networks of space {self.space.name!r} are not their layers one after another, so "
                "blocks cannot be learned one by one"
            )

    @torch.no_grad()
    def flow(self, lessons: list[Lesson], images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Input and output of the teacher's block of each lesson, in eval mode.

        Args:
            lessons: ``lessons``, all or the first of them.
            images: (N, C, H, W).
        """
        training = self.network.training
        self.network.eval()
        found = []
        for lesson in lessons:
            given, images = images, self.block(lesson)(images)
            found.append((given, images))
        self.network.train(training)
        return found


def lessons_of(space: SearchSpace, arch: Arch) -> list[Lesson]:
    """What alternatives would learn from a teacher of this arch, in order of execution.

    Raises:
        ValueError: as ``spans``; or layers of the arch of which one does not take what the one before gives.
    """
    row = space.to_row(arch)
    shape: Shape = tuple(space.input_shape(arch))
    found = []
    for span in spans(space):
        teacher = int(span.standing[tuple(row[list(span.columns)])])
        own = span.alternatives[teacher]
        after = own[-1].output_shape if own else shape
        if own and not _fits(own, shape, after):
            raise ValueError(
                f"at {span.name!r} space {space.name!r} has {own[0].key}, which takes {own[0].input_shape}, "
                f"after what gives {shape}: its layers do not stand one after another, so blocks cannot be "
                f"learned one by one"
            )
        fitting = [at for at, one in enumerate(span.alternatives) if _fits(one, shape, after)] if own else []
        found.append(Lesson(span=span, teacher=teacher, fitting=tuple(fitting or [teacher])))
        shape = after
    return found


def fitting_terms(space: SearchSpace, arch: Arch) -> list[Term]:
    """Terms that allow the archs whose blocks all fit a teacher of this arch: those that can be ranked."""
    return [
        Term(columns=one.span.columns, values=np.isin(one.span.standing, one.fitting))
        for one in lessons_of(space, arch)
    ]


def _fits(layers: tuple[Layer, ...], before: Shape, after: Shape) -> bool:
    """Whether layers in a row turn one shape into another."""
    shape = before
    for layer in layers:
        if layer.input_shape != shape:
            return False
        shape = layer.output_shape
    return shape == after
