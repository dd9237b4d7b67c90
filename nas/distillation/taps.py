"""What layers of a network give while it runs, and which layers of two networks go together."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.distillation.maps import channels_of, grid_of
from results.names import unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A layer of the student and the one of the teacher that it learns from.

    Attributes:
        student: Name of the student's layer.
        teacher: Name of the teacher's.
        student_shape: Shape of its output for a batch, (N, C, H, W) or (N, tokens, C).
        teacher_shape: Shape of the teacher's, likewise.
    """

    student: str
    teacher: str
    student_shape: torch.Size
    teacher_shape: torch.Size

    @property
    def student_channels(self) -> int:
        """Channels of the student's feature."""
        return channels_of(self.student_shape)

    @property
    def teacher_channels(self) -> int:
        """Channels of the teacher's feature."""
        return channels_of(self.teacher_shape)


@contextlib.contextmanager
def hearing(network: nn.Module, layers: Collection[str]) -> Iterator[dict[str, Tensor]]:
    """Collects the outputs of layers, by name, while the network runs; of several calls the last.

    Of a layer that gives several tensors it is the first.
    """
    found: dict[str, Tensor] = {}

    def heard(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(_module: nn.Module, _given: object, output: object) -> None:
            if (feature := first_tensor(output)) is not None:
                found[name] = feature

        return hook

    handles = [network.get_submodule(name).register_forward_hook(heard(name)) for name in layers]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def first_tensor(output: object) -> Tensor | None:
    """A tensor, or the first of what a layer gives several of; None where there is none."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        output = list(output.values())
    if isinstance(output, tuple | list) and output and isinstance(output[0], Tensor):
        return output[0]
    return None


@torch.no_grad()
def features_of(network: nn.Module, images: Tensor) -> tuple[dict[str, torch.Size], object]:
    """Shapes of the features of all layers in the order in which these end, and the network's output.

    Args:
        network: Network in any mode; it runs in eval mode.
        images: A few, on its device.
    """
    modes = [(part, part.training) for part in network.modules()]
    network.eval()
    names = [name for name, _ in network.named_modules() if name]
    try:
        with hearing(network, names) as heard:
            output = network(images)
    finally:
        for part, training in modes:
            part.training = training
    return {name: one.shape for name, one in heard.items() if grid_of(one.shape) is not None}, output


def pairs_of(
    student: Mapping[str, torch.Size], teacher: Mapping[str, torch.Size], layers: Mapping[str, str]
) -> tuple[Pair, ...]:
    """The layers that go together, the shallowest first.

    Args:
        student: Shapes of the student's features, as ``features_of`` gives them.
        teacher: Shapes of the teacher's.
        layers: Name of the teacher's layer for each of the student's; empty pairs the ends of their stages
            (the last feature of each resolution), each of the student's with the one nearest in resolution.

    Raises:
        ValueError: a layer that is not there, or gives no feature; names the nearest.
    """
    if not layers:
        layers = _stages_that_match(student, teacher)
    for name, other in layers.items():
        _check(name, student, "student")
        _check(other, teacher, "teacher")
    order = {name: at for at, name in enumerate(student)}
    return tuple(
        Pair(
            student=name,
            teacher=layers[name],
            student_shape=student[name],
            teacher_shape=teacher[layers[name]],
        )
        for name in sorted(layers, key=order.__getitem__)
    )


def _check(name: str, known: Mapping[str, torch.Size], whose: str) -> None:
    if name not in known:
        raise ValueError(
            f"{unknown(f'layer of the {whose}', name, known)} Right are layers that give a map (N, C, H, W) "
            f"or tokens (N, tokens, C)"
        )


def _stages_that_match(
    student: Mapping[str, torch.Size], teacher: Mapping[str, torch.Size]
) -> dict[str, str]:
    own, others = _ends_of_stages(student), _ends_of_stages(teacher)
    if not own or not others:
        whose = "student" if not own else "teacher"
        raise ValueError(f"no layer of the {whose} gives a map (N, C, H, W) or tokens (N, tokens, C)")
    nearest = {
        name: min(others, key=lambda other: abs(math.log(places / others[other])))
        for name, places in own.items()
    }
    deepest = {other: name for name, other in nearest.items()}  # of several with one teacher, the last
    return {name: other for other, name in deepest.items()}


def _ends_of_stages(shapes: Mapping[str, torch.Size]) -> dict[str, int]:
    """The last layer of each number of positions, with that number; maps of one position only if alone."""
    last: dict[int, str] = {}
    for name, shape in shapes.items():
        grid = grid_of(shape)
        assert grid is not None
        last[grid[0] * grid[1]] = name
    if len(last) > 1:
        last.pop(1, None)
    return {name: places for places, name in last.items()}


class _Reached(Exception):
    """No error: it ends a forward pass."""


def going_on(network: nn.Module, images: Tensor, start: str, feature: Tensor, end: str) -> Tensor:
    """What a layer gives where an earlier one had given something else; gradients flow into that alone.

    The network runs up to the first layer without gradients, for what goes past it.

    Args:
        network: Network in eval mode.
        images: Its input.
        start: Name of the layer whose output is replaced.
        feature: What it is replaced with, of the same shape, leading tokens included.
        end: Name of the layer whose output is wanted; it runs later.

    Raises:
        ValueError: the later layer does not run after the other.
    """
    found: list[Tensor] = []

    def replace(_module: nn.Module, _given: object, output: object) -> object:
        torch.set_grad_enabled(True)
        if isinstance(output, tuple):
            return (feature, *output[1:])
        return [feature, *output[1:]] if isinstance(output, list) else feature

    def reach(_module: nn.Module, _given: object, output: object) -> None:
        reached = first_tensor(output)
        if reached is not None and reached.requires_grad:
            found.append(reached)
            raise _Reached

    handles = [
        network.get_submodule(start).register_forward_hook(replace),
        network.get_submodule(end).register_forward_hook(reach),
    ]
    frozen = [parameter for parameter in network.parameters() if parameter.requires_grad]
    try:
        for parameter in frozen:
            parameter.requires_grad_(False)
        with torch.no_grad(), contextlib.suppress(_Reached):
            network(images)
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
        for handle in handles:
            handle.remove()
    if not found:
        raise ValueError(f"layer {end!r} of the teacher does not run after {start!r}")
    return found[0]
