"""Whether a space's networks can be trained on the data: input sizes, and outputs that fit the task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from runners.tasks import CLASSIFICATION, Task
from runners.training.auxiliary import parts
from search_spaces.space import Arch, SearchSpace, Shape
from search_spaces.spaces.maps import RESOLUTION

_ASKED = 64  # networks


def check_input(space: SearchSpace, images: Shape) -> None:
    """Refuses a space that says its networks see other images than there are: costs would be of those.

    Args:
        space: a user's own may give any ``input_shape``, or one that the arch decides.
        images: (C, H, W) of the data.

    Raises:
        ValueError: names an arch and both shapes.
    """
    for row in (*space.ends, *space.sample(_ASKED, np.random.default_rng(0))):
        arch = space.to_arch(row)
        shape = tuple(space.input_shape(arch))
        if shape != tuple(images):
            raise ValueError(
                f"space {space.name!r} says that arch {arch} sees images of {shape}, and the data are "
                f"{tuple(images)}. A run trains, scores and measures all networks at the size of the data: "
                f"give the space the input_shape that your function is called with; train.resolutions "
                f"trains at several"
            )


def check_outputs(space: SearchSpace, images: Shape, classes: int, task: Task = CLASSIFICATION) -> None:
    """Refuses a space whose networks do not do the task: its smallest and its largest are run on zeros.

    They are run in eval mode and in training mode, in which a network may give a tuple: its own output, then
    auxiliary ones of the same form.

    Args:
        space: a user's own may hold any network.
        images: (C, H, W) of the data.
        classes: number of classes of the data.
        task: what the networks are trained for.

    Raises:
        ValueError: names the arch and what its network gives instead.
    """
    for arch in (space.smallest(), space.largest()):
        _check_outputs(space, arch, images, classes, task, training=False)
        with torch.random.fork_rng(devices=[]):  # dropout draws
            _check_outputs(space, arch, images, classes, task, training=True)


def _check_outputs(
    space: SearchSpace, arch: Arch, images: Shape, classes: int, task: Task, *, training: bool
) -> None:
    which = f"the network of arch {arch}{' in training mode' if training else ''}"
    try:
        with torch.no_grad():
            outputs = space.build(arch).train(training)(torch.zeros(2, *images))
    except Exception as error:  # whatever a user's network raises: many assert
        said = str(error).splitlines() or [type(error).__name__]
        raise ValueError(
            f"space {space.name!r}: {which} does not run on images of {tuple(images)}: {said[0]}"
        ) from error
    found = parts(outputs) if training else None
    for one in (outputs,) if found is None else found:
        if problem := task.problem(one, classes):
            raise ValueError(f"space {space.name!r}: {which} {problem}")


def check_resolutions(space: SearchSpace, heights: Sequence[int]) -> list[tuple[int, int]]:
    """The (height, width) of each height, in the proportions of the space's input, if its networks take them.

    Args:
        space: whose largest and smallest network are tried.
        heights: image heights in pixels.

    Raises:
        ValueError: a size that is larger than the input, that the space's strides do not divide, or that a
            network fails on; a space whose networks resize their images themselves.
    """
    if heights and RESOLUTION in [slot.name for slot in space.slots]:
        raise ValueError(
            "train.resolutions: space.resolutions has networks resize images to sizes of their own, so that "
            "smaller images would only blur them; leave one of the two out"
        )
    _, height, width = space.input_shape(space.largest())
    sizes = [(one, max(1, round(width * one / height))) for one in heights]
    for size in sizes:
        problem = _problem(space, size)
        if problem:
            raise ValueError(f"train.resolutions: {size[0]} {problem}")
    return sizes


def _problem(space: SearchSpace, size: tuple[int, int]) -> str:
    """What keeps a size from being used; empty if nothing does."""
    channels, full, _ = space.input_shape(space.largest())
    if not 0 < size[0] <= full:
        return f"is not between 1 and the input's height, {full}"
    stride = _stride(space, full)
    if any(length % stride for length in size):
        return f"gives an input of {size[0]}x{size[1]}, no multiple of the networks' stride, {stride}"
    for arch in (space.largest(), space.smallest()):
        try:  # in the mode that it is used in: a BatchNorm of one pixel and image has no variance
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                space.build(arch).train()(torch.zeros(2, channels, *size))
        except Exception as error:  # whatever a user's network raises: many assert
            said = str(error).splitlines() or [type(error).__name__]
            return f"does not run through arch {arch}: {said[0]}"
    return ""


def _stride(space: SearchSpace, full: int) -> int:
    """How much smaller the last maps are than the input at most; 1 where the space does not list its layers.

    Where the stride is a choice, the smallest network has the largest.
    """
    if not space.slots:
        return 1
    archs = (space.largest(), space.smallest())
    shapes = [layer.output_shape for arch in archs for layer in space.lower(arch)]
    return full // min(shape[1] for shape in shapes if len(shape) == 3)
