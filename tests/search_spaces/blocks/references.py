"""Every block written from its formula, in float64, on the weights of a block; and every gate."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from tests.search_spaces.blocks.dynamic_references import DYNAMIC

Weights = Mapping[str, Tensor]


def under(weights: Weights, name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): one for key, one in weights.items() if key.startswith(f"{name}.")}


def has(weights: Weights, name: str) -> bool:
    return bool(under(weights, name))


def conv_norm(x: Tensor, weights: Weights, name: str, *, stride: int = 1, groups: int = 1) -> Tensor:
    """A convolution that keeps the size (but for the stride), then the norm with its running statistics."""
    own = under(weights, name)
    kernel = own["conv.weight"].shape[-1]
    y = conv2d(x, own["conv.weight"], stride=stride, padding=kernel // 2, groups=groups)
    shape = (1, -1, 1, 1)
    scale = own["norm.weight"] / torch.sqrt(own["norm.running_var"] + 1e-5)
    return (y - own["norm.running_mean"].view(shape)) * scale.view(shape) + own["norm.bias"].view(shape)


def relu(x: Tensor) -> Tensor:
    return x.clamp(min=0)


def hard_sigmoid(x: Tensor) -> Tensor:
    return ((x + 3) / 6).clamp(0, 1)


def squeeze_excitation(x: Tensor, own: Weights) -> Tensor:
    means = x.mean(dim=(2, 3))
    hidden = relu(means @ own["squeeze.weight"][:, :, 0, 0].T + own["squeeze.bias"])
    weights = hard_sigmoid(hidden @ own["excite.weight"][:, :, 0, 0].T + own["excite.bias"])
    return x * weights[:, :, None, None]


def channel_attention(x: Tensor, own: Weights) -> Tensor:
    """Channel by channel: its own mean and those of the two beside it, weighed."""
    taps = own["mix.weight"].flatten()
    means = x.mean(dim=(2, 3))
    channels = x.shape[1]
    result = torch.empty_like(x)
    for channel in range(channels):
        total = torch.zeros(len(x), dtype=x.dtype)
        for tap, offset in zip(taps, (-1, 0, 1), strict=True):
            if 0 <= channel + offset < channels:
                total = total + tap * means[:, channel + offset]
        result[:, channel] = x[:, channel] * hard_sigmoid(total)[:, None, None]
    return result


def gate(x: Tensor, weights: Weights) -> Tensor:
    if has(weights, "inner.se"):
        return squeeze_excitation(x, under(weights, "inner.se"))
    if has(weights, "inner.eca"):
        return channel_attention(x, under(weights, "inner.eca"))
    return x


def shortcut(x: Tensor, weights: Weights, stride: int) -> Tensor:
    return conv_norm(x, weights, "shortcut", stride=stride) if has(weights, "shortcut") else x


def bottleneck(x: Tensor, weights: Weights, stride: int) -> Tensor:
    y = relu(conv_norm(x, weights, "inner.reduce"))
    y = relu(conv_norm(y, weights, "inner.spatial", stride=stride))
    y = gate(conv_norm(y, weights, "inner.expand"), weights)
    if has(weights, "shortcut"):
        x = conv_norm(squares(x, stride), weights, "shortcut.embed")
    return relu(y + x)


def squares(x: Tensor, side: int) -> Tensor:
    """The mean of each square of pixels, as much of it as there is."""
    height, width = (-(-size // side) for size in x.shape[2:])
    y = torch.empty(*x.shape[:2], height, width, dtype=x.dtype)
    for i in range(height):
        for j in range(width):
            here = x[:, :, i * side : (i + 1) * side, j * side : (j + 1) * side]
            y[:, :, i, j] = here.sum(dim=(2, 3)) / (here.shape[2] * here.shape[3])
    return y


def plain(x: Tensor, weights: Weights, stride: int) -> Tensor:
    return relu(conv_norm(x, {f"it.{key}": one for key, one in weights.items()}, "it", stride=stride))


def residual(x: Tensor, weights: Weights, stride: int) -> Tensor:
    y = relu(conv_norm(x, weights, "inner.first", stride=stride))
    y = gate(conv_norm(y, weights, "inner.second"), weights)
    return relu(y + shortcut(x, weights, stride))


def grouped(x: Tensor, weights: Weights, stride: int) -> Tensor:
    (name,) = {key.split(".")[1] for key in weights if "groups_of" in key or "dense_" in key}
    y = relu(conv_norm(x, weights, "inner.reduce"))
    groups = y.shape[1] // int(name.rpartition("_")[2])
    y = gate(relu(conv_norm(y, weights, f"inner.{name}", stride=stride, groups=groups)), weights)
    return relu(conv_norm(y, weights, "inner.project") + shortcut(x, weights, stride))


def mbconv(x: Tensor, weights: Weights, stride: int) -> Tensor:
    y = relu(conv_norm(x, weights, "inner.expand")) if has(weights, "inner.expand") else x
    y = relu(conv_norm(y, weights, "inner.depthwise", stride=stride, groups=y.shape[1]))
    y = conv_norm(gate(y, weights), weights, "inner.project")
    return x + y if x.shape == y.shape else y


def fused_mbconv(x: Tensor, weights: Weights, stride: int) -> Tensor:
    if has(weights, "inner.alone"):
        y = gate(relu(conv_norm(x, weights, "inner.alone", stride=stride)), weights)
    else:
        y = gate(relu(conv_norm(x, weights, "inner.expand", stride=stride)), weights)
        y = conv_norm(y, weights, "inner.project")
    return x + y if x.shape == y.shape else y


def convnext(x: Tensor, weights: Weights, stride: int) -> Tensor:
    y = conv_norm(x, weights, "inner.depthwise", groups=x.shape[1])
    y = relu(conv_norm(y, weights, "inner.mlp.expand"))
    return x + conv_norm(y, weights, "inner.mlp.project")


def convmixer(x: Tensor, weights: Weights, stride: int) -> Tensor:
    x = x + relu(conv_norm(x, weights, "mix.inner", groups=x.shape[1]))
    return relu(conv_norm(x, weights, "pointwise"))


def depthwise(x: Tensor, weights: Weights, stride: int) -> Tensor:
    """The MetaFormer block of a depthwise convolution."""
    x = x + relu(conv_norm(x, weights, "mixer.inner", groups=x.shape[1]))
    return x + conv_norm(relu(conv_norm(x, weights, "mlp.inner.expand")), weights, "mlp.inner.project")


REFERENCES = {
    "bottleneck": bottleneck,
    "plain": plain,
    "residual": residual,
    "grouped": grouped,
    "mbconv": mbconv,
    "fused_mbconv": fused_mbconv,
    "convnext": convnext,
    "convmixer": convmixer,
    "depthwise": depthwise,
    **DYNAMIC,
}


def drawn(module: nn.Module) -> nn.Module:
    """The module in float64 and eval mode, all of its weights and statistics drawn."""
    random = torch.Generator().manual_seed(0)
    module = module.double().eval()
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            values = torch.rand(tensor.shape, generator=random, dtype=torch.float64)
            tensor.copy_(values + 0.5 if "var" in name or tensor.ndim == 1 else values - 0.4)
    return module
