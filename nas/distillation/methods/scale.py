"""ScaleKD: a student of any kind that learns from a large transformer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from nas.distillation.maps import as_map, grid_of
from nas.distillation.method import METHODS, FeatureShapes, Heard
from nas.distillation.methods.base import Comparing
from nas.distillation.methods.outputs import Positive, Weight
from nas.distillation.taps import Pair

_HEAD = 32  # channels of an attention head, about


class AttentionProjector(nn.Module):
    """Cross attention from the teacher's grid to the student's map: resolutions and kinds need not agree.

    Args:
        pair: Layers of the two.
        sharpness: Factor on the logits of the attention.
    """

    def __init__(self, pair: Pair, *, sharpness: float) -> None:
        super().__init__()
        width, inputs = pair.teacher_channels, pair.student_channels
        own, grid = grid_of(pair.student_shape), grid_of(pair.teacher_shape)
        assert own is not None
        assert grid is not None
        self.grid, self.sharpness = grid, sharpness
        self.heads = max(heads for heads in range(1, max(1, width // _HEAD) + 1) if width % heads == 0)
        conv = nn.Conv2d(inputs, inputs, 3, padding=1)
        self.student = nn.Sequential(conv, nn.BatchNorm2d(inputs), nn.ReLU())
        self.places = nn.Parameter(torch.empty(1, inputs, *own).normal_(std=0.02))
        self.question = nn.Parameter(torch.randn(1, grid[0] * grid[1], width))
        self.asked = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.query, self.key = nn.Linear(width, width), nn.Linear(inputs, width)
        self.value, self.out = nn.Linear(inputs, width), nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.ffn = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, question: Tensor | None = None) -> Tensor:
        """The student's map as the teacher would have it, (N, width, height, width of the grid).

        Args:
            x: The student's map, (N, inputs, H, W).
            question: What is asked, (N, positions, width); learned where there is none.
        """
        given = (self.student(x) + self.places).flatten(2).transpose(1, 2)
        asked = self.asked(self.question if question is None else question).expand(len(x), -1, -1)
        query, key, value = (
            one.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for one in (self.query(asked), self.key(given), self.value(given))
        )
        logits = self.sharpness * query @ key.transpose(2, 3) * query.shape[3] ** -0.5
        mixed = self.out((logits.softmax(3) @ value).transpose(1, 2).flatten(2))
        normed = self.norm(mixed)
        found: Tensor = normed + self.ffn(normed)
        return found.transpose(1, 2).unflatten(2, self.grid)


@METHODS.register("scale")
class Scale(Comparing):
    """ScaleKD: a projector by attention, two views of the features, and the teacher's own parameters.

    "ScaleKD: Strong Vision Transformers Could Be Excellent Teachers" (Fan et al., NeurIPS 2024), section 3.
    The feature of the last stage but one, projected, runs on through the frozen last stage of the teacher and
    has to come out as the teacher's; what comes out asks the last stage's projector. Name ``kd`` beside it.

    Args:
        shapes: Shapes of the features of student and teacher.
        layers: Layer of the teacher for each of the student's, by name, two of them; the ends of the last two
            stages by default. With one, nothing runs through the teacher.
        spatial: Factor of the loss on the features as they are.
        frequency: Factor of the loss on the features less the mean over their positions: what a cosine
            transform has beside its constant.
        sharpness: Factor on the logits of the attention.
        weight: Factor of its loss.
    """

    compares_logits = False

    def __init__(
        self,
        shapes: FeatureShapes,
        *,
        layers: Annotated[Mapping[str, str], Field(max_length=2)] = {},
        spatial: Weight = 0.08,
        frequency: Weight = 0.06,
        sharpness: Positive = 5.0,
        weight: Weight = 1.0,
    ) -> None:
        super().__init__(weight)
        self.pairs = shapes.pairs(layers)[-2:]
        self.factors = {"spatial": spatial, "frequency": frequency}
        self.projectors = nn.ModuleDict(
            {
                view: nn.ModuleList(AttentionProjector(pair, sharpness=sharpness) for pair in self.pairs)
                for view in self.factors
            }
        )

    def forward(self, heard: Heard) -> Tensor:
        """The loss: both views, at both stages."""
        last = self.pairs[-1]
        wanted = as_map(heard.teacher[last.teacher])
        total = wanted.new_zeros(())
        for view, factor in self.factors.items():
            question, projectors = None, list(cast(nn.ModuleList, self.projectors[view]))
            if len(self.pairs) == 2:
                through = as_map(self._through(heard, projectors[0]))
                total = total + factor * unlike(through, wanted, view)
                question = through.flatten(2).transpose(1, 2)
            student = as_map(heard.student[last.student])
            total = total + factor * unlike(projectors[-1](student, question), wanted, view)
        return total

    def _through(self, heard: Heard, projector: nn.Module) -> Tensor:
        """The student's feature of the last stage but one behind the teacher's last stage."""
        first, last = self.pairs
        projected: Tensor = projector(as_map(heard.student[first.student]))
        own = heard.teacher[first.teacher]
        if own.ndim == 3:
            tokens = projected.flatten(2).transpose(1, 2)
            projected = torch.cat([own[:, : own.shape[1] - tokens.shape[1]], tokens], 1)
        assert heard.going_on is not None
        return heard.going_on(first.teacher, projected, last.teacher)


def unlike(student: Tensor, teacher: Tensor, view: str) -> Tensor:
    """Squared distance of the channels of two maps (N, C, H, W) as unit vectors, summed over the positions.

    Args:
        student: The student's, projected.
        teacher: The teacher's.
        view: ``spatial``, or ``frequency``: without the constant of a cosine transform, the mean.
    """
    if view == "frequency":
        student, teacher = (one - one.mean((2, 3), keepdim=True) for one in (student, teacher))
    return (F.normalize(student, dim=1) - F.normalize(teacher, dim=1)).square().sum() / len(student)
