"""The section of a recipe for training after compression steps, and for its teachers."""

from __future__ import annotations

from pydantic import Field

from runners.recipe.part import Part, part
from runners.recipe.section import Section


class Recovery(Section):
    """The training of a network after a step changed it, and of the step ``finetune``."""

    epochs: int = Field(default=10, ge=0)
    """Passes over the training images; 0 does not train."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Peak learning rate of AdamW."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Factor on the learning rate from each layer to the one before it: first layers, which are nearly right,
    change least; 1 trains all alike."""
    teachers: tuple[Part, ...] = (part("largest"),)
    """Teachers, whose mean counts: ``largest`` (the supernet's largest network, where there is a supernet),
    ``itself`` (the network as compression began with it), a network of yours (``my.py:make``, or with weights
    ``{ kind = "my.py:make", weights = "w.safetensors" }``), an ONNX file; none leaves the labels alone."""
    methods: tuple[Part, ...] = (part("kd"),)
    """Methods by which a network learns from its teachers; their losses are added up."""
    views: int = Field(default=0, ge=0)
    """Places of a crop, along each side, at which teachers are asked once about every image, before the
    training; what they say is kept in the run's folder and interpolated. 0 asks them in every step."""
    teacher_weight: float = Field(default=0.7, ge=0, le=1)
    """Share of the loss on what teachers give; the rest is on labels."""
    temperature: float = Field(default=2.0, gt=0)
    """Temperature of the methods that have one and give none: both outputs are softened by it."""

    @property
    def has_teachers(self) -> bool:
        """Whether there are teachers without a supernet."""
        return any(one.kind != "largest" for one in self.teachers)
