"""Methods that compare features, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from nas.distillation.maps import PROJECTIONS, as_map, on_one_grid
from nas.distillation.method import METHODS, FeatureShapes, Heard
from nas.distillation.methods.base import Comparing
from nas.distillation.methods.outputs import Positive, Weight
from nas.distillation.taps import Pair

Layers = Mapping[str, str]
Projection = Literal["linear", "spatial", "mlp", "searched"]


def _projections(pairs: Sequence[Pair], projection: str) -> nn.ModuleList:
    make = PROJECTIONS[projection]
    return nn.ModuleList(make(pair.student_channels, pair.teacher_channels) for pair in pairs)


def _standardized(feature: Tensor) -> Tensor:
    """A map (N, C, H, W), each channel less its mean over the batch, over its deviation."""
    mean = feature.mean((0, 2, 3), keepdim=True)
    return (feature - mean) / feature.std((0, 2, 3), correction=0, keepdim=True).clamp(min=1e-5)


@METHODS.register("features")
class Features(Comparing):
    """Features of the teacher, which projections of the student's have to give: mean squared error.

    "FitNets: Hints for Thin Deep Nets" (Romero et al., ICLR 2015), equation 3, over several layers.

    Args:
        shapes: Shapes of the features of student and teacher.
        layers: Layer of the teacher for each of the student's, by name; the ends of their stages by default.
        projection: Form of what is learned between them: ``linear`` (1x1), ``spatial`` (3x3 and BatchNorm),
            ``mlp`` (1x1, BatchNorm, ReLU, 1x1), or ``searched`` (a learned mean of the three).
        standardized: Whether each channel of the teacher's has mean 0 and deviation 1 over the batch, which
            makes layers comparable.
        weight: Factor of its loss.
    """

    compares_logits = False

    def __init__(
        self,
        shapes: FeatureShapes,
        *,
        layers: Layers = {},  # noqa: B006 - never changed
        projection: Projection = "linear",
        standardized: bool = True,
        weight: Weight = 1.0,
    ) -> None:
        super().__init__(weight)
        self.pairs, self.standardized = shapes.pairs(layers), standardized
        self.projections = _projections(self.pairs, projection)

    def forward(self, heard: Heard) -> Tensor:
        """The loss, the mean over the layers."""
        return torch.stack([self.at(index, heard) for index in range(len(self.pairs))]).mean()

    def at(self, index: int, heard: Heard) -> Tensor:
        """The loss of one pair of layers."""
        pair = self.pairs[index]
        teacher = as_map(heard.teacher[pair.teacher])
        student, teacher = on_one_grid(as_map(heard.student[pair.student]), teacher)
        wanted = _standardized(teacher) if self.standardized else teacher
        return (self.projections[index](student) - wanted).square().mean()


@METHODS.register("progressive")
class Progressive(Features):
    """Features one stage after another, the shallowest first; then the other methods and the labels.

    After "One is All: Bridging the Gap Between Neural Radiance Fields Architectures with Progressive Volume
    Distillation" (Fang et al., AAAI 2023): the first of K stages learns alone, then the first two, and so on.
    What a student has beyond the stages under way has no gradient. Name other methods beside it.

    Args:
        shapes: Shapes of the features of student and teacher.
        layers: Layer of the teacher for each of the student's, by name; the ends of their stages by default.
        projection: Form of what is learned between them, as of ``features``.
        share: Share of the training in which features alone are learned.
        weight: Factor of its loss.
    """

    def __init__(
        self,
        shapes: FeatureShapes,
        *,
        layers: Layers = {},  # noqa: B006 - never changed
        projection: Projection = "linear",
        share: Annotated[float, Field(gt=0, lt=1)] = 0.3,
        weight: Weight = 1.0,
    ) -> None:
        super().__init__(shapes, layers=layers, projection=projection, weight=weight)
        self.share = share

    def alone(self, progress: float) -> bool:
        """Whether it is in its share of the training."""
        return progress < self.share

    def forward(self, heard: Heard) -> Tensor:
        """The mean loss of the stages under way; zero once they are learned."""
        if not self.alone(heard.progress):
            return heard.student_logits.sum() * 0
        stages = 1 + int(heard.progress / self.share * len(self.pairs))
        return torch.stack([self.at(index, heard) for index in range(stages)]).mean()


@METHODS.register("attention")
class AttentionMaps(Comparing):
    """Places that matter to the teacher: maps of the channels' summed powers, as unit vectors.

    "Paying More Attention to Attention" (Zagoruyko and Komodakis, ICLR 2017), equation 2, its norm squared.

    Args:
        shapes: Shapes of the features of student and teacher.
        layers: Layer of the teacher for each of the student's, by name; the ends of their stages by default.
        power: Exponent on the values of a map.
        weight: Factor of its loss.
    """

    compares_logits = False

    def __init__(
        self,
        shapes: FeatureShapes,
        *,
        layers: Layers = {},  # noqa: B006 - never changed
        power: Positive = 2.0,
        weight: Weight = 1.0,
    ) -> None:
        super().__init__(weight)
        self.pairs, self.power = shapes.pairs(layers), power

    def forward(self, heard: Heard) -> Tensor:
        """The loss, the sum over the layers."""
        losses = []
        for pair in self.pairs:
            both = on_one_grid(as_map(heard.student[pair.student]), as_map(heard.teacher[pair.teacher]))
            student, teacher = (self._places(one) for one in both)
            losses.append((student - teacher).square().sum(1).mean())
        return torch.stack(losses).sum()

    def _places(self, feature: Tensor) -> Tensor:
        """Unit vectors (N, positions)."""
        return nn.functional.normalize(feature.abs().pow(self.power).sum(1).flatten(1), dim=1)


@METHODS.register("relational")
class Relational(Comparing):
    """Distances and angles between the images of a batch, whatever the widths of the two networks.

    "Relational Knowledge Distillation" (Park et al., CVPR 2019), equations 5 to 9, on the mean over the
    positions of a layer.

    Args:
        shapes: Shapes of the features of student and teacher.
        layers: Layer of the teacher for each of the student's, by name; those of the last stages by default.
        distance: Factor of the loss on distances, each over their mean.
        angle: Factor of the loss on the cosines of the angles of triples.
        weight: Factor of its loss.
    """

    compares_logits = False

    def __init__(
        self,
        shapes: FeatureShapes,
        *,
        layers: Layers = {},  # noqa: B006 - never changed
        distance: Weight = 1.0,
        angle: Weight = 2.0,
        weight: Weight = 1.0,
    ) -> None:
        super().__init__(weight)
        self.pairs = shapes.pairs(layers)[0 if layers else -1 :]
        self.distance, self.angle = distance, angle

    def forward(self, heard: Heard) -> Tensor:
        """The loss, the mean over the layers."""
        losses = []
        for pair in self.pairs:
            student = as_map(heard.student[pair.student]).mean((2, 3))
            teacher = as_map(heard.teacher[pair.teacher]).mean((2, 3))
            loss = self.distance * nn.functional.smooth_l1_loss(_distances(student), _distances(teacher))
            losses.append(
                loss + self.angle * nn.functional.smooth_l1_loss(_angles(student), _angles(teacher))
            )
        return torch.stack(losses).mean()


def _distances(embedding: Tensor) -> Tensor:
    """Distances of all pairs (N, N), over the mean of those of two different images."""
    squared = (embedding[:, None] - embedding[None]).square().sum(2)
    apart = ~torch.eye(len(embedding), dtype=torch.bool, device=embedding.device)
    # The root of zero has no gradient: the diagonal stays out of it.
    found = torch.where(apart, squared.clamp(min=1e-12), 1.0).sqrt() * apart
    return found / (found.sum() / apart.sum().clamp(min=1)).clamp(min=1e-12)


def _angles(embedding: Tensor) -> Tensor:
    """Cosines of the angles at the middle one of all triples, (N, N, N)."""
    away = nn.functional.normalize(embedding[None] - embedding[:, None], dim=2)
    return away @ away.transpose(1, 2)
