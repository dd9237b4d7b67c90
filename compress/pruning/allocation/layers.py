"""Layers of a network while its groups shrink: their widths, multiply-accumulates and measured time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from compress.pruning.channels import one_input
from compress.pruning.members import members
from compress.target import Target

_SECONDS_EACH = 0.08  # to time a layer for: there are hundreds, and the whole network is timed at the end


@dataclass(frozen=True, slots=True, kw_only=True)
class SizedLayer:
    """A convolution or linear layer at some widths.

    Attributes:
        module: SizedLayer that it is a narrower one of.
        inputs: Channels that go in.
        outputs: Channels that come out.
        given: Shape of its input at full width, without the batch.
    """

    module: nn.Module
    inputs: int
    outputs: int
    given: tuple[int, ...]

    def input_shape(self) -> tuple[int, ...]:
        """Shape of its input at this width, without the batch."""
        if isinstance(self.module, _ConvNd):
            return (self.inputs, *self.given[1:])
        return (*self.given[:-1], self.inputs)

    def key(self) -> tuple[Any, ...]:
        """What two layers share that take the same time."""
        module = self.module
        kind: tuple[Any, ...] = ("linear",)
        if isinstance(module, _ConvNd):
            kind = (
                type(module).__name__,
                module.kernel_size,
                module.stride,
                module.padding,
                module.dilation,
                self.groups(),
            )
        return (*kind, self.inputs, self.outputs, self.input_shape())

    def with_outputs(self, outputs: int) -> SizedLayer:
        """The same with that many channels out; where each makes one of its own, also in."""
        return replace(self, outputs=outputs, inputs=outputs if depthwise(self.module) else self.inputs)

    def groups(self) -> int:
        """Groups of the convolution at this width."""
        assert isinstance(self.module, _ConvNd)
        groups = self.module.groups
        if groups == self.module.in_channels:
            return self.inputs
        return groups if self.inputs % groups == 0 and self.outputs % groups == 0 else 1

    def made(self) -> nn.Module:
        """A layer of these widths with weights of its own."""
        module = self.module
        bias = module.bias is not None
        if not isinstance(module, _ConvNd):
            return nn.Linear(self.inputs, self.outputs, bias=bias)
        settings: dict[str, Any] = {
            "stride": module.stride,
            "padding": module.padding,
            "dilation": module.dilation,
            "groups": self.groups(),
            "bias": bias,
        }
        if isinstance(module, _ConvTransposeNd):
            settings["output_padding"] = module.output_padding
        kind: Any = next(one for one in type(module).__mro__ if one.__module__ == "torch.nn.modules.conv")
        return kind(self.inputs, self.outputs, module.kernel_size, **settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Use:
    """How a layer's widths hang on the groups: channels of it for each channel of a group."""

    module: nn.Module
    given: tuple[int, ...]
    positions: int
    inputs: tuple[tuple[int, float], ...]
    outputs: tuple[tuple[int, float], ...]


class Layers:
    """The convolutions and linear layers of a network, each with its widths as functions of the groups.

    Args:
        network: Network in eval mode.
        example: An input, (B, ...).
        groups: Each group's channels, and torch-pruning's group of all of them.
    """

    def __init__(self, network: nn.Module, example: Tensor, groups: Sequence[tuple[int, Any]]) -> None:
        self._full = [channels for channels, _ in groups]
        inputs: dict[nn.Module, list[tuple[int, float]]] = {}
        outputs: dict[nn.Module, list[tuple[int, float]]] = {}
        for index, (channels, parts) in enumerate(groups):
            for member in members(parts):
                side = inputs if member.role == "reads" else outputs
                side.setdefault(member.module, []).append((index, len(member.places) / channels))
        self._uses = [
            _Use(
                module=module,
                given=given,
                positions=positions,
                inputs=tuple(outputs.get(module, []) if depthwise(module) else inputs.get(module, [])),
                outputs=tuple(outputs.get(module, [])),
            )
            for module, (given, positions) in _seen(network, example).items()
        ]

    def at(self, kept: Sequence[int]) -> list[SizedLayer]:
        """All layers where the groups keep that many channels."""
        return [
            SizedLayer(
                module=use.module,
                inputs=self._width(_inputs(use.module), use.inputs, kept),
                outputs=self._width(_outputs(use.module), use.outputs, kept),
                given=use.given,
            )
            for use in self._uses
        ]

    def macs(self, kept: Sequence[int]) -> float:
        """Multiply-accumulates of all layers where the groups keep that many channels."""
        return sum(self.layer_macs(kept))

    def layer_macs(self, kept: Sequence[int]) -> list[float]:
        """Multiply-accumulates of each layer."""
        return [
            layer.inputs
            * layer.outputs
            * _kernel(layer.module)
            * use.positions
            / (layer.groups() if isinstance(layer.module, _ConvNd) else 1)
            for use, layer in zip(self._uses, self.at(kept), strict=True)
        ]

    def groups_of(self) -> list[tuple[list[int], list[int]]]:
        """Groups that each layer reads, and those that it makes; a depthwise one only makes."""
        return [
            (
                [] if depthwise(use.module) else [index for index, _ in use.inputs],
                [index for index, _ in use.outputs],
            )
            for use in self._uses
        ]

    def _width(self, full: int, parts: Iterable[tuple[int, float]], kept: Sequence[int]) -> int:
        return max(1, full - round(sum(each * (self._full[index] - kept[index]) for index, each in parts)))


class LayerTimes:
    """Latency of layers on a target, each measured once.

    Args:
        target: Runtime and device.
        seconds_each: Time to measure each for, in seconds.
    """

    def __init__(self, target: Target, seconds_each: float = _SECONDS_EACH) -> None:
        self._target, self._seconds_each = target, seconds_each
        self._known: dict[tuple[Any, ...], float] = {}

    def __call__(self, layers: Sequence[SizedLayer]) -> list[float]:
        """Latency of each layer in milliseconds.

        Raises:
            ValueError: the target does not run one of them.
        """
        new = {layer.key(): layer for layer in layers if layer.key() not in self._known}
        if new:
            self._measure(new)
        return [self._known[layer.key()] for layer in layers]

    def total_ms(self, layers: Sequence[SizedLayer]) -> float:
        """Latency of all of them together, in milliseconds."""
        return sum(self(layers))

    def __len__(self) -> int:
        return len(self._known)

    def _measure(self, new: dict[tuple[Any, ...], SizedLayer]) -> None:
        with tempfile.TemporaryDirectory(prefix="quarry-") as folder:
            files = [Path(folder) / f"{index}.{self._target.facts.format}" for index in range(len(new))]
            for layer, file in zip(new.values(), files, strict=True):
                self._target.export(layer.made().eval(), layer.input_shape(), file)
            timings = self._target.measure(files, budget_s=self._seconds_each * len(files), half_width=0.05)
        for (key, layer), timing in zip(new.items(), timings, strict=True):
            if timing.status != "measured":
                raise ValueError(
                    f"a layer of {layer.inputs} to {layer.outputs} channels does not run: {timing.reason}"
                )
            self._known[key] = timing.median_ms


def _seen(network: nn.Module, example: Tensor) -> dict[nn.Module, tuple[tuple[int, ...], int]]:
    """Shape of the input of each layer that runs, and the positions that it is computed at."""
    found: dict[nn.Module, tuple[tuple[int, ...], int]] = {}

    def seen(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        width = output.shape[1] if isinstance(layer, _ConvNd) else output.shape[-1]
        found[layer] = (tuple(given[0].shape[1:]), output[0].numel() // width)

    layers = [one for one in network.modules() if isinstance(one, _ConvNd | nn.Linear)]
    hooks = [layer.register_forward_hook(seen) for layer in layers]
    try:
        with torch.no_grad():
            network(one_input(network, example))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def inputs_of(network: nn.Module, example: Tensor) -> dict[nn.Module, tuple[int, ...]]:
    """Shape, without the batch, of what each convolution and linear layer that runs reads."""
    return {module: given for module, (given, _) in _seen(network, example).items()}


def depthwise(module: nn.Module) -> bool:
    """Whether each output channel has an input channel of its own."""
    return isinstance(module, _ConvNd) and module.groups > 1 and module.groups == module.in_channels


def _inputs(module: nn.Module) -> int:
    return module.in_channels if isinstance(module, _ConvNd) else module.in_features  # type: ignore[return-value]


def _outputs(module: nn.Module) -> int:
    return module.out_channels if isinstance(module, _ConvNd) else module.out_features  # type: ignore[return-value]


def _kernel(module: nn.Module) -> int:
    return int(torch.tensor(module.kernel_size).prod()) if isinstance(module, _ConvNd) else 1
