"""Weights of classes in a loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from results.names import unknown

ClassWeights = Literal["equal", "balanced"] | dict[str, Annotated[float, Field(ge=0)]]
"""``equal``, ``balanced`` (the rarer, the more, 1 on average), or a weight by the name of the class."""


def weights_of(given: ClassWeights, balanced: Sequence[float], classes: Sequence[str]) -> ClassWeights:
    """The weight of every class, in order; ``equal`` stays as it is.

    Args:
        given: weights as a task has them; a class that is not named has 1.
        balanced: the weights that ``balanced`` stands for.
        classes: names.

    Raises:
        ValueError: a name that no class has, or no class that counts.
    """
    if given == "equal":
        return given
    if isinstance(given, Mapping):
        for name in given:
            if name not in classes:
                raise ValueError(f"task.class_weights: {unknown('class', name, classes)}")
        found = {name: float(given.get(name, 1.0)) for name in classes}
        if not any(found.values()):
            raise ValueError("task.class_weights are 0 for every class, so nothing would be learned")
        return found
    return dict(zip(classes, (round(float(one), 6) for one in balanced), strict=True))


def tensor_of(weights: ClassWeights, like: Tensor) -> Tensor:
    """Weights as a tensor (classes,) of the type and on the device of another.

    Raises:
        ValueError: they are not known yet.
    """
    if isinstance(weights, str):
        raise ValueError(f"class weights {weights!r} follow from the data; call the task's fitted() first")
    return like.new_tensor(list(weights.values()))
