"""Training with weights and layer inputs of few bits simulated: LSQ and DoReFa, for any number of bits.

"Learned Step Size Quantization" (LSQ; Esser et al., ICLR 2020), equations 1 to 5, with a scale for each
output channel of a weight and, for inputs that go below zero, a zero point that stays as it was found.
"DoReFa-Net: Training Low Bitwidth Convolutional Neural Networks with Low Bitwidth Gradients" (Zhou et al.,
2016), equations 5 to 12. The first and the last layer to run have 8 bits by LSQ in both, as both papers leave
them fine.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from compress.onnx.numbers.integers import weight_scale

LearnedMethod = Literal["lsq", "dorefa"]
_SEEN = "input_rounding"  # name of the module in a layer that rounds what goes into it
_UNSEEN = -1
_SHARES = tuple(1 - index / 20 for index in range(16))  # of the largest input, tried as the first range


class _Learned(torch.autograd.Function):
    """Rounding to whole steps between two ends, with LSQ's gradient of the step."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, step: Tensor, low: float, high: float, damping: float) -> Tensor:
        scaled = values / step
        whole = scaled.round().clamp_(low, high)
        ctx.save_for_backward(scaled, whole, step)
        ctx.ends, ctx.damping = (low, high), damping
        return whole * step

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        scaled, whole, step = ctx.saved_tensors
        low, high = ctx.ends
        inside = (scaled >= low) & (scaled <= high)
        of_values = gradient * inside
        of_step = torch.addcmul(gradient * whole, of_values, scaled, value=-1)  # inside, what rounding added
        summed = of_step.flatten(1).sum(1).reshape(step.shape)
        return of_values, summed * ctx.damping, None, None, None


class _LearnedTensor(torch.autograd.Function):
    """The same for one step for all values, in few passes over them: inputs of layers are large."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, step: Tensor, zero: int, levels: int, damping: float) -> Tensor:
        rounded = (values / step).round_().clamp_(-zero, levels - zero).mul_(step)
        ctx.save_for_backward(values, rounded, step)
        ctx.ends, ctx.damping = (-zero, levels - zero), damping
        return rounded

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        values, rounded, step = ctx.saved_tensors
        low, high = (end * float(step) for end in ctx.ends)
        of_values = torch.ops.aten.hardtanh_backward(gradient, values, low, high)  # nothing outside the ends
        dots = ((gradient, rounded), (of_values, values))  # of what lies outside only the end counts
        of_step = (torch.dot(*(one.flatten() for one in pair)) for pair in dots)
        summed = next(of_step) - next(of_step)
        return of_values, (summed / step * ctx.damping).reshape(step.shape), None, None, None


class LearnedWeight(nn.Module):
    """A weight in steps that are learned, one for each output channel.

    Args:
        weight: weight to begin with, output channels first.
        bits: bits of a number, 2 or more.
    """

    def __init__(self, weight: Tensor, bits: int) -> None:
        super().__init__()
        self.most = 2 ** (bits - 1) - 1
        scale = weight_scale(weight.detach().float().cpu().numpy(), 0, bits, per_channel=True)
        step = torch.from_numpy(scale).to(weight).reshape(-1, *[1] * (weight.ndim - 1))
        self.step = nn.Parameter(step)
        self.damping = float((weight[0].numel() * self.most) ** -0.5)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight in whole steps."""
        rounded: Tensor = _Learned.apply(weight, self.step.abs(), -self.most, self.most, self.damping)
        return rounded

    def integers(self, weight: Tensor) -> NDArray[np.int32]:
        """The steps of a weight in its shape."""
        with torch.no_grad():
            whole = (weight / self.step.abs()).round().clamp(-self.most, self.most)
        return whole.cpu().numpy().astype(np.int32)


class LearnedInput(nn.Module):
    """What goes into a layer, in steps that are learned; begins with the first batch.

    Args:
        bits: bits of a number.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.levels = 2**bits - 1
        self.step = nn.Parameter(torch.tensor(1.0))
        self.zero: Tensor
        self.register_buffer("zero", torch.tensor(_UNSEEN, dtype=torch.int32))  # a checkpoint holds it
        self._zero = _UNSEEN  # the same where no device has to be asked

    def forward(self, x: Tensor) -> Tensor:
        """x in whole steps; outside of training, x as it is until there was a batch."""
        if not self._seen() and self.training:
            self._begin(x.detach())
        if not self._seen():
            return x
        damping = float((x[0].numel() * self.levels) ** -0.5)
        rounded: Tensor = _LearnedTensor.apply(x, self.step.abs(), self._zero, self.levels, damping)
        return rounded

    def _seen(self) -> bool:
        if self._zero == _UNSEEN:
            self._zero = int(self.zero)
        return self._zero != _UNSEEN

    @torch.no_grad()
    def _begin(self, x: Tensor) -> None:
        low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
        sampled = x.flatten()[:: max(1, x.numel() // 4096)]
        best, step, zero = float("inf"), 1.0, 0
        for share in _SHARES if self.levels < 255 else (1.0,):
            tried = max(share * (high - low) / self.levels, 1e-8)
            at = round(-share * low / tried)
            rounded = ((sampled / tried).round().clamp(-at, self.levels - at)) * tried
            error = float((rounded - sampled).square().sum())
            if error < best:
                best, step, zero = error, tried, at
        self.step.fill_(step)
        self.zero.fill_(zero)

    @property
    def range(self) -> tuple[float, float] | None:
        """(low, high) of what is told apart; None before the first batch."""
        if not self._seen():
            return None
        step = abs(float(self.step.detach()))
        return -self._zero * step, (self.levels - self._zero) * step


class _Straight(torch.autograd.Function):
    """Numbers in [0, 1] in whole steps; gradients go straight through."""

    @staticmethod
    def forward(_ctx: Any, values: Tensor, levels: int) -> Tensor:
        return (values * levels).round() / levels

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> Any:
        return gradients[0], None


class _Bounded(torch.autograd.Function):
    """Numbers clipped to [0, 1] in whole steps, in few passes; gradients go straight through inside."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, levels: int) -> Tensor:
        ctx.save_for_backward(values)
        return values.clamp(0, 1).mul_(levels).round_().div_(levels)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (values,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradients[0], values, 0.0, 1.0), None


class DoReFaWeight(nn.Module):
    """DoReFa's weights: signs times their mean size for one bit, else the tanh in [-1, 1] in whole steps.

    Args:
        bits: bits of a number.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def forward(self, weight: Tensor) -> Tensor:
        """The weight of few bits."""
        if self.bits == 1:
            signs = torch.where(weight >= 0, 1.0, -1.0) * weight.detach().abs().mean()
            return weight + (signs - weight).detach()
        bounded = torch.tanh(weight)
        rounded: Tensor = _Straight.apply(
            bounded / (2 * bounded.detach().abs().max()) + 0.5, 2**self.bits - 1
        )
        return 2 * rounded - 1

    def integers(self, weight: Tensor) -> NDArray[np.int32] | None:
        """Whole numbers that the weight is a multiple of; None where they do not go into 8 bits."""
        if self.bits > 7:
            return None
        with torch.no_grad():
            rounded = self(weight)
            most = 1 if self.bits == 1 else 2**self.bits - 1
            whole = (rounded / (rounded.abs().max() if self.bits == 1 else 1.0) * most).round()
        return whole.cpu().numpy().astype(np.int32)


class DoReFaInput(nn.Module):
    """Inputs clipped to [0, 1] in whole steps.

    Args:
        bits: bits of a number.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.levels = 2**bits - 1
        self.ran: Tensor
        self.register_buffer("ran", torch.tensor(False))  # a checkpoint holds it

    def forward(self, x: Tensor) -> Tensor:
        """x of few bits."""
        self.ran.fill_(True)
        rounded: Tensor = _Bounded.apply(x, self.levels)
        return rounded

    @property
    def range(self) -> tuple[float, float] | None:
        """(low, high) of what is told apart; None before the first batch."""
        return (0.0, 1.0) if self.ran else None


class _NoisyGradient(torch.autograd.Function):
    """Gradients of few bits, for each image in the range of its own, rounded up or down by chance."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, bits: int) -> Tensor:
        ctx.bits = bits
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        levels = 2**ctx.bits - 1
        size = 2 * gradient.abs().flatten(1).amax(1).clamp_min(1e-30)
        size = size.reshape(-1, *[1] * (gradient.ndim - 1))
        noise = (torch.rand_like(gradient) - 0.5) / levels
        rounded = ((gradient / size + 0.5 + noise) * levels).round().clamp_(0, levels) / levels
        return size * (rounded - 0.5), None


def simulate(
    network: nn.Module,
    kinds: tuple[type[nn.Module], ...],
    method: LearnedMethod,
    *,
    weight_bits: int,
    input_bits: int,
    gradient_bits: int | None = None,
) -> dict[str, nn.Module]:
    """Has the layers of a network compute with few bits, in place.

    Args:
        network: the network.
        kinds: types of its layers that are rounded.
        method: way of rounding.
        weight_bits: bits of a weight.
        input_bits: bits of what goes into a layer.
        gradient_bits: bits of the gradients of a layer's outputs, for ``dorefa``; None leaves them alone.

    Returns:
        The layers by name.
    """
    layers = {name: part for name, part in network.named_modules() if type(part) in kinds}
    ends = _ends(network, layers)
    for name, layer in layers.items():
        learned = method == "lsq" or name in ends
        bits = (8, 8) if name in ends else (weight_bits, input_bits)
        weight: Tensor = layer.weight
        rounding = LearnedWeight(weight, bits[0]) if learned else DoReFaWeight(bits[0])
        seen = LearnedInput(bits[1]) if learned else DoReFaInput(bits[1])
        parametrize.register_parametrization(layer, "weight", rounding)
        layer.add_module(_SEEN, seen.to(weight.device))
        layer.register_forward_pre_hook(_round_input)
        if gradient_bits is not None and not learned:
            layer.register_forward_hook(_noisy(gradient_bits))
    return layers


def _ends(network: nn.Module, layers: Collection[str]) -> tuple[str, str]:
    """The first and the last layer to run; of a ``forward`` that cannot be traced, those defined so."""
    names = list(layers)
    with contextlib.suppress(Exception):  # a user's forward fails on proxies in whatever way it likes
        called = [str(node.target) for node in fx.Tracer().trace(network).nodes if node.op == "call_module"]
        names = [name for name in called if name in layers] or names
    return names[0], names[-1]


def _round_input(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (layer.get_submodule(_SEEN)(inputs[0]), *inputs[1:])


def _noisy(bits: int) -> Callable[[nn.Module, Any, Tensor], Any]:
    return lambda layer, inputs, output: _NoisyGradient.apply(output, bits)


def settle(
    layers: dict[str, nn.Module],
) -> tuple[dict[str, tuple[float, float]], dict[str, NDArray[np.int32]]]:
    """Makes plain layers of those that ``simulate`` changed, with the weights that they computed with.

    Returns:
        (low, high) of what goes into each layer, and the whole numbers that its weights are multiples of, by
        the layer's name. Layers that saw nothing have neither.
    """
    ranges: dict[str, tuple[float, float]] = {}
    integers: dict[str, NDArray[np.int32]] = {}
    for name, layer in layers.items():
        rounded: Any = layer.parametrizations["weight"]  # type: ignore[index]
        seen: Any = layer.get_submodule(_SEEN)
        if seen.range is not None:
            ranges[name] = seen.range
            if (whole := rounded[0].integers(rounded.original)) is not None:
                integers[name] = whole
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        layer._forward_pre_hooks.clear()
        layer._forward_hooks.clear()
        delattr(layer, _SEEN)
    return ranges, integers
