"""Channel mixers, norms, residual forms and entries written from their formulas, on the weights of a part."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from statistics import NormalDist

import torch
from torch import Tensor

from search_spaces.choice import Value
from tests.search_spaces.blocks.references import squares, squeeze_excitation
from tests.search_spaces.mixers.references.basis import Weights, conv_norm, norm, relu, under

Values = Mapping[str, Value]


# -- channel mixers --------------------------------------------------------------------------------


def mlp(x: Tensor, weights: Weights, values: Values) -> Tensor:
    return conv_norm(relu(conv_norm(x, weights, "expand")), weights, "project")


def conv_mlp(x: Tensor, weights: Weights, values: Values) -> Tensor:
    hidden = relu(conv_norm(x, weights, "expand"))
    hidden = hidden + relu(conv_norm(hidden, weights, "depthwise", groups=0))
    if values["gate"] == "se":
        hidden = squeeze_excitation(hidden, under(weights, "weigh.se"))
    return conv_norm(hidden, weights, "project")


def glu(x: Tensor, weights: Weights, values: Values) -> Tensor:
    gate = conv_norm(x, weights, "gate")
    if values["kernel"] != 1:
        gate = conv_norm(gate, weights, "depthwise", groups=0)
    return conv_norm(relu(gate) * conv_norm(x, weights, "value"), weights, "project")


def low_rank_mlp(x: Tensor, weights: Weights, values: Values) -> Tensor:
    """The products of the thin matrices, multiplied out."""
    for thin, wide in (("narrow", "expand"), ("reduce", "project")):
        matrix = weights[f"{wide}.conv.weight"][:, :, 0, 0] @ weights[f"{thin}.weight"][:, :, 0, 0]
        assert torch.linalg.matrix_rank(matrix) <= round(float(values["rank"]) * 24)
        x = norm(torch.einsum("oc,bchw->bohw", matrix, x), under(weights, f"{wide}.norm"))
        x = relu(x) if wide == "expand" else x
    return x


def moe(x: Tensor, weights: Weights, values: Values) -> Tensor:
    """Image by image: its shares, its matrices, then position by position."""
    result = torch.empty_like(x)
    experts = range(int(values["experts"]))
    for image in range(len(x)):
        means = x[image].mean(dim=(1, 2))
        logits = weights["route.weight"] @ means + weights["route.bias"]
        shares = [1 / (1 + math.exp(-float(one))) for one in logits]
        expand, project = (
            sum((share * weights[f"{name}.weight"][one] for one, share in zip(experts, shares, strict=True)))
            for name in ("expand", "project")
        )
        for i in range(x.shape[2]):
            for j in range(x.shape[3]):
                hidden = norm((expand @ x[image, :, i, j]).view(1, -1, 1, 1), under(weights, "inner_norm"))
                mixed = project @ relu(hidden).flatten()
                result[image, :, i, j] = norm(mixed.view(1, -1, 1, 1), under(weights, "outer_norm")).flatten()
    return result


def every_other_eight(channels: int) -> tuple[list[int], list[int]]:
    first = [channel for channel in range(channels) if channel // 8 % 2 == 0]
    return first, [channel for channel in range(channels) if channel not in first]


def sparse_mlp(x: Tensor, weights: Weights, values: Values) -> Tensor:
    predicting, telling = every_other_eight(x.shape[1])
    z = torch.einsum("oc,bchw->bohw", weights["predict.weight"][:, :, 0, 0], x[:, predicting])
    shape = (1, -1, 1, 1)
    z = (z - weights["norm.running_mean"].view(shape)) / torch.sqrt(
        weights["norm.running_var"].view(shape) + 1e-5
    )
    fires = relu(z - NormalDist().inv_cdf(1 - float(values["keep"])))
    return conv_norm(fires * conv_norm(x[:, telling], weights, "value"), weights, "project")


# -- norms -----------------------------------------------------------------------------------------


def layer(x: Tensor, weights: Weights, values: Values) -> Tensor:
    result = torch.empty_like(x)
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            here = x[:, :, i, j]
            mean = here.mean(dim=1, keepdim=True)
            variance = ((here - mean) ** 2).mean(dim=1, keepdim=True)
            scaled = (here - mean) / torch.sqrt(variance + 1e-6)
            result[:, :, i, j] = scaled * weights["norm.weight"] + weights["norm.bias"]
    return result


def ibn(x: Tensor, weights: Weights, values: Values) -> Tensor:
    by_instance, by_batch = every_other_eight(x.shape[1])
    result = torch.empty_like(x)
    for at, channel in enumerate(by_instance):
        for image in range(len(x)):
            here = x[image, channel]
            scaled = (here - here.mean()) / torch.sqrt(((here - here.mean()) ** 2).mean() + 1e-5)
            weight, bias = weights["instance.weight"][at], weights["instance.bias"][at]
            result[image, channel] = scaled * weight + bias
    if by_batch:
        result[:, by_batch] = norm(x[:, by_batch], under(weights, "batch"))
    return result


def dyt(x: Tensor, weights: Weights, values: Values) -> Tensor:
    grown = torch.exp(2 * weights["alpha"] * x)
    return weights["gamma"] * (grown - 1) / (grown + 1) + weights["beta"]


# -- residual forms --------------------------------------------------------------------------------


def inner(x: Tensor, weights: Weights) -> Tensor:
    return conv_norm(x, weights, "inner")


def plain_sum(x: Tensor, weights: Weights, values: Values) -> Tensor:
    return x + inner(x, weights)


def scaled(x: Tensor, weights: Weights, values: Values) -> Tensor:
    return x + float(values["scale"]) * inner(x, weights)


def rezero(x: Tensor, weights: Weights, values: Values) -> Tensor:
    return x + weights["alpha"] * inner(x, weights)


def layer_scale(x: Tensor, weights: Weights, values: Values) -> Tensor:
    return x + weights["gamma"].view(1, -1, 1, 1) * inner(x, weights)


# -- entries ---------------------------------------------------------------------------------------


def strided_conv_norm(x: Tensor, weights: Weights, name: str, stride: int, before: int) -> Tensor:
    """Output by output; ``before`` zeros lie above and to the left, and as many as are looked at beyond."""
    own = under(weights, name) if name else dict(weights)
    weight = own["conv.weight"]
    kernel = weight.shape[-1]
    height, width = (-(-side // stride) for side in x.shape[-2:])
    padded = torch.zeros(*x.shape[:2], x.shape[2] + 4 * kernel, x.shape[3] + 4 * kernel, dtype=x.dtype)
    padded[:, :, before : before + x.shape[2], before : before + x.shape[3]] = x
    y = torch.empty(len(x), len(weight), height, width, dtype=x.dtype)
    for i in range(height):
        for j in range(width):
            patch = padded[:, :, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
            y[:, :, i, j] = torch.einsum("ockl,bckl->bo", weight, patch)
    return norm(y, under(own, "norm"))


def strided(x: Tensor, weights: Weights, values: Values) -> Tensor:
    return relu(strided_conv_norm(x, weights, "", int(values["stride"]), 1))


def patch(x: Tensor, weights: Weights, values: Values) -> Tensor:
    return strided_conv_norm(x, weights, "merge", int(values["stride"]), 0)


def positioned_patch(x: Tensor, weights: Weights, values: Values) -> Tensor:
    """The table's entries lie in the middles of equal squares of the map; beyond the outer ones nothing
    changes."""
    y = strided_conv_norm(x, weights, "patch.merge", int(values["stride"]), 0)
    table = weights["positions"]
    side = table.shape[1]

    def between(at: int, length: int) -> tuple[int, int, float]:
        place = min(max((at + 0.5) * side / length - 0.5, 0.0), side - 1.0)
        return int(place), min(int(place) + 1, side - 1), place - int(place)

    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            (top, bottom, down), (left, right, along) = between(i, y.shape[2]), between(j, y.shape[3])
            upper = (1 - along) * table[:, top, left] + along * table[:, top, right]
            lower = (1 - along) * table[:, bottom, left] + along * table[:, bottom, right]
            y[:, :, i, j] += (1 - down) * upper + down * lower
    return y


def deep(x: Tensor, weights: Weights, values: Values) -> Tensor:
    """Strides: a half by the first convolution; what is left, by a maximum over 3x3."""
    first = 2 if int(values["stride"]) > 1 else 1
    x = relu(strided_conv_norm(x, weights, "conv0", first, 1))
    for name in ("conv1", "conv2"):
        x = relu(strided_conv_norm(x, weights, name, 1, 1))
    if int(values["stride"]) < 4:
        return x
    height, width = (-(-side // 2) for side in x.shape[2:])
    y = torch.empty(*x.shape[:2], height, width, dtype=x.dtype)
    for i in range(height):
        for j in range(width):
            y[:, :, i, j] = x[:, :, max(0, 2 * i - 1) : 2 * i + 2, max(0, 2 * j - 1) : 2 * j + 2].amax(
                dim=(2, 3)
            )
    return y


def pooled(x: Tensor, weights: Weights, values: Values) -> Tensor:
    return conv_norm(squares(x, int(values["stride"])), weights, "embed")


def spd(x: Tensor, weights: Weights, values: Values) -> Tensor:
    """Every pixel of a patch is a channel: input channel, then row, then column of the patch."""
    stride = int(values["stride"])
    height, width = (-(-side // stride) for side in x.shape[-2:])
    deep = torch.zeros(len(x), x.shape[1] * stride**2, height, width, dtype=x.dtype)
    for channel in range(x.shape[1]):
        for i in range(x.shape[2]):
            for j in range(x.shape[3]):
                at = (channel * stride + i % stride) * stride + j % stride
                deep[:, at, i // stride, j // stride] = x[:, channel, i, j]
    return relu(conv_norm(deep, weights, "conv"))


def overlapping(x: Tensor, weights: Weights, values: Values) -> Tensor:
    return strided_conv_norm(x, weights, "", int(values["stride"]), int(values["kernel"]) // 2)


def along(x: Tensor, weights: Weights, values: Values) -> Tensor:
    """Position by position of every so-manieth row."""
    stride, kernel = int(values["stride"]), int(values["kernel"])
    weight = weights["conv.weight"][:, :, 0]  # (O, C, kernel)
    rows = x[:, :, ::stride]
    y = torch.zeros(len(x), len(weight), rows.shape[2], -(-x.shape[3] // stride), dtype=x.dtype)
    for column in range(y.shape[3]):
        for tap in range(kernel):
            place = column * stride + tap - kernel // 2
            if 0 <= place < x.shape[3]:
                y[..., column] += torch.einsum("oc,bch->boh", weight[:, :, tap], rows[..., place])
    return relu(norm(y, under(weights, "norm")))


def multi_patch(x: Tensor, weights: Weights, values: Values) -> Tensor:
    """Channel by channel: the scale that its place in a round of sixteen gives it, and its number there."""
    scales, stride = int(values["scales"]), int(values["stride"])
    turns = {2: [0] * 8 + [1] * 8, 4: [0] * 8 + [1] * 4 + [2] * 2 + [3] * 2}[scales]
    found = {}
    for scale in range(scales):
        name = f"convs.{scale}_of_{scales}"
        if own := under(weights, name):
            reach = own["conv.weight"].shape[-1] // 2
            assert reach == stride * 2**scale // 2
            found[scale] = strided_conv_norm(x, weights, name, stride, reach)
    taken = dict.fromkeys(found, 0)
    channels = []
    for channel in range(sum(one.shape[1] for one in found.values())):
        scale = turns[channel % 16]
        channels.append(found[scale][:, taken[scale]])
        taken[scale] += 1
    return torch.stack(channels, dim=1)


def residual_reduction(x: Tensor, weights: Weights, values: Values) -> Tensor:
    """Square by square: its average is added where the input has the channel."""
    stride = int(values["stride"])
    result = strided_conv_norm(x, weights, "reduce", stride, 1)
    for channel in range(min(x.shape[1], result.shape[1])):
        for i in range(result.shape[2]):
            for j in range(result.shape[3]):
                square = x[:, channel, i * stride : (i + 1) * stride, j * stride : (j + 1) * stride]
                result[:, channel, i, j] += square.mean(dim=(1, 2))
    return result


REFERENCES: dict[str, dict[str, Callable[[Tensor, Weights, Values], Tensor]]] = {
    "channel_mixers": {
        "mlp": mlp,
        "conv_mlp": conv_mlp,
        "glu": glu,
        "low_rank_mlp": low_rank_mlp,
        "moe": moe,
        "sparse_mlp": sparse_mlp,
    },
    "norms": {"layer": layer, "ibn": ibn, "dyt": dyt},
    "residuals": {"sum": plain_sum, "scaled": scaled, "rezero": rezero, "layer_scale": layer_scale},
    "entries": {
        "strided": strided,
        "patch": patch,
        "positioned_patch": positioned_patch,
        "deep": deep,
        "pooled": pooled,
        "spd": spd,
        "overlapping": overlapping,
        "multi_patch": multi_patch,
        "residual_reduction": residual_reduction,
        "along": along,
    },
}
"""Functions of the input, the weights by qualified name, and the values of choices, by key and name."""
