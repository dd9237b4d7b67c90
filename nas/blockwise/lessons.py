"""What is to be learned from a teacher: for each span its own block, and the alternatives that fit there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.blockwise.spans import Span, spans
from search_spaces.layer import Layer
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
        row = self.space.to_row(self.arch)
        shape: Shape = tuple(self.space.input_shape(self.arch))
        found = []
        for span in spans(self.space):
            teacher = int(span.standing[tuple(row[list(span.columns)])])
            own = span.alternatives[teacher]
            after = own[-1].output_shape if own else shape
            fitting = (
                [at for at, one in enumerate(span.alternatives) if _fits(one, shape, after)] if own else []
            )
            found.append(Lesson(span=span, teacher=teacher, fitting=tuple(fitting or [teacher])))
            shape = after
        return found

    def block(self, lesson: Lesson) -> nn.Sequential:
        """The teacher's own block of a lesson: its modules, not copies."""
        own = lesson.span.alternatives[lesson.teacher]
        return nn.Sequential(*(self.network.get_submodule(layer.name) for layer in own))

    @torch.no_grad()
    def flow(self, lessons: list[Lesson], images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Input and output of the teacher's block of each lesson, in eval mode.

        Args:
            lessons: all of ``lessons``.
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


def _fits(layers: tuple[Layer, ...], before: Shape, after: Shape) -> bool:
    """Whether layers in a row turn one shape into another."""
    shape = before
    for layer in layers:
        if layer.input_shape != shape:
            return False
        shape = layer.output_shape
    return shape == after
