"""Convolutions of many forms, and shifts."""

from __future__ import annotations

import torch
from torch import Tensor

from search_spaces.choice import Value
from tests.search_spaces.mixers.references.basis import (
    Weights,
    conv,
    conv_norm,
    norm,
    relu,
    shifted,
    under,
)


def of_eight(channels: int, places: range | tuple[int, ...]) -> list[int]:
    """The channels that lie at these places of their eight."""
    return [channel for channel in range(channels) if channel % 8 in places]


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def linear(x: Tensor, own: Weights) -> Tensor:
    """A 1x1 convolution with a bias, of (B, C)."""
    return x @ own["weight"][:, :, 0, 0].T + own["bias"]


def inception_dw(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    taken, y = int(values["taken"]), x.clone()
    for index, name in enumerate(("square", "row", "column")):
        own = of_eight(x.shape[1], range(index * taken, (index + 1) * taken))
        y[:, own] = conv_norm(x[:, own], weights, f"branches.{name}{taken}", groups=0)
    return y


def large_kernel(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    """The large kernel, and beside it those that the paper's code has for its side."""
    y = conv_norm(x, weights, "large", groups=0)
    beside = {7: "51 32 33", 9: "51 52 33 34", 13: "51 72 33 34 35"}[int(values["large"])]
    for size, dilation in beside.split():
        y = y + conv_norm(
            x, weights, f"branches.kernel{size}_dilation{dilation}", groups=0, dilation=int(dilation)
        )
    return y


def strided(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    return conv(x, weight, groups=x.shape[1])[:, :, ::stride, ::stride]


def resized(x: Tensor, height: int, width: int) -> Tensor:
    """Linearly between the centres of the pixels, row by row and column by column."""
    for axis, size in ((2, height), (3, width)):
        old, found = x.shape[axis], []
        for index in range(size):
            place = min(max((index + 0.5) * old / size - 0.5, 0.0), old - 1.0)
            low = int(place)
            high, share = min(low + 1, old - 1), place - low
            found.append((1 - share) * x.select(axis, low) + share * x.select(axis, high))
        x = torch.stack(found, dim=axis)
    return x


def recconv(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    def recursion(y: Tensor, level: int) -> Tensor:
        """What is added to the map of a level."""
        if level == int(values["levels"]):
            return torch.zeros_like(y)
        smaller = strided(y, weights["down.weight"], 2)
        inside = smaller + recursion(smaller, level + 1)
        mixed = conv(inside, weights[f"inner.{level}.weight"], groups=y.shape[1])
        return resized(mixed, *y.shape[2:])

    return conv_norm(x + recursion(x, 0), weights, "outer", groups=0)


def sepconv(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    wide = conv_norm(relu(conv_norm(x, weights, "expand")), weights, "depthwise", groups=0)
    return conv_norm(wide, weights, "project")


def shift(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    around = [(0, -1), (0, 1), (-1, 0), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)]
    y = x.clone()
    for place, (down, right) in enumerate(around[: int(values["directions"])]):
        own = of_eight(x.shape[1], (place,))
        y[:, own] = shifted(x[:, own], down, right)
    return y


def mix_shift(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    height, width = x.shape[2:]
    groups = [((0,), -2), ((1, 2), -1), ((3, 4), 0), ((5, 6), 1), ((7,), 2)]
    y = torch.empty_like(x)
    for index, (places, steps) in enumerate(groups):
        own, by = of_eight(x.shape[1], places), steps * int(values["distance"])
        right, down = torch.empty_like(x[:, own]), torch.empty_like(x[:, own])
        for i in range(height):
            for j in range(width):
                right[:, :, i, j] = x[:, own, i, (j - by) % width]
                down[:, :, i, j] = x[:, own, (i - by) % height, j]
        rows = conv_norm(right, weights, f"along_rows.{index}", groups=0)
        y[:, own] = rows + conv_norm(down, weights, f"along_columns.{index}", groups=0)
    return y


def gnconv(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    last = int(values["order"]) - 1

    def factor(index: int) -> Tensor:
        inside = conv_norm(x, weights, f"factors.{index}.0")
        assert inside.shape[1] == x.shape[1] // 2**index
        return conv_norm(inside, weights, f"factors.{index}.1", groups=0)

    y = conv_norm(x, weights, f"first.width{last}") * factor(last)
    for index in reversed(range(last)):
        y = conv_norm(y, weights, f"widen.{index}") * factor(index)
    return conv_norm(y, weights, "project")


def omni_scale(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    inside = relu(conv_norm(x, weights, "reduce"))
    total = torch.zeros_like(inside)
    for stream in range(int(values["streams"])):
        y = inside
        for step in range(stream + 1):
            own = under(weights, f"streams.{stream}.{step}")
            y = relu(conv_norm(conv(y, own["mix.weight"]), own, "depthwise", groups=0))
        hidden = relu(linear(y.mean(dim=(2, 3)), under(weights, "gate.1")))
        total += y * sigmoid(linear(hidden, under(weights, "gate.3")))[:, :, None, None]
    return conv_norm(total, weights, "project")


def selective(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    number = int(values["branches"])
    maps = [
        relu(conv_norm(x, weights, f"branches.{index}", groups=0, dilation=index + 1))
        for index in range(number)
    ]
    hidden = relu(linear(sum(maps).mean(dim=(2, 3)), under(weights, "squeeze")))
    grown = [torch.exp(linear(hidden, under(weights, f"select.{index}"))) for index in range(number)]
    return sum(one * (share / sum(grown))[:, :, None, None] for one, share in zip(maps, grown, strict=True))


def factorized(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    y = conv_norm(relu(conv_norm(x, weights, "column", groups=0)), weights, "row", groups=0)
    return conv_norm(y, weights, "project")


def density_conv(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    own = under(weights, "depthwise")
    kernel = own["conv.weight"].clone()
    side = kernel.shape[-1]
    for i in range(side):
        for j in range(side):
            kernel[:, :, i, j] *= float(values["density"]) ** (abs(i - side // 2) + abs(j - side // 2))
    return relu(norm(conv(x, kernel, groups=x.shape[1]), under(own, "norm")))


def random_conv(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    return conv_norm(relu(conv_norm(x, weights, "depthwise", groups=0)), weights, "project")


def grouped_conv(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    width = int(values["group_width"])
    groups = x.shape[1] // width
    name = f"groups_of_{width}" if groups > 1 else f"dense_{width}"
    return relu(conv_norm(x, weights, name, groups=groups))


def spatial_bottleneck(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    by = int(values["shrink"])
    down = under(weights, f"by.down{by}")
    small = norm(strided(x, down["conv.weight"], by), under(down, "norm"))
    small = relu(conv_norm(small, weights, f"by.project{by}"))
    up, y = under(weights, f"by.up{by}"), torch.empty_like(x)
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            y[:, :, i, j] = small[:, :, i // by, j // by] * up["weight"][:, 0, i % by, j % by] + up["bias"]
    return y


REFERENCES = {
    "inception_dw": inception_dw,
    "large_kernel": large_kernel,
    "recconv": recconv,
    "sepconv": sepconv,
    "shift": shift,
    "mix_shift": mix_shift,
    "gnconv": gnconv,
    "omni_scale": omni_scale,
    "selective": selective,
    "factorized": factorized,
    "density_conv": density_conv,
    "random_conv": random_conv,
    "grouped_conv": grouped_conv,
    "spatial_bottleneck": spatial_bottleneck,
}
