"""The published blocks of several parts, written from their formulas on the weights of a block."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from search_spaces.choice import Value
from tests.search_spaces.blocks.references import channel_attention, mbconv, squares, squeeze_excitation
from tests.search_spaces.mixers.references import REFERENCES as MIXERS
from tests.search_spaces.mixers.references.basis import Weights, conv, conv_norm, relu, under

Values = Mapping[str, Value]


def mlp(x: Tensor, weights: Weights, name: str) -> Tensor:
    own = under(weights, f"{name}.inner")
    return x + conv_norm(relu(conv_norm(x, own, "expand")), own, "project")


def gated(x: Tensor, weights: Weights, name: str) -> Tensor:
    if own := under(weights, f"{name}.se"):
        return squeeze_excitation(x, own)
    return channel_attention(x, own) if (own := under(weights, f"{name}.eca")) else x


def concatenated(found: Mapping[str, Tensor], weights: Weights, name: str) -> Tensor:
    """One convolution of the sources side by side, its norms folded into it."""
    kernels, bias = [], 0
    for source in found:
        own = under(weights, f"{name}.sources.{source}")
        scale = own["norm.weight"] / torch.sqrt(own["norm.running_var"] + 1e-5)
        kernels.append(own["conv.weight"][:, :, 0, 0] * scale[:, None])
        bias = bias + own["norm.bias"] - own["norm.running_mean"] * scale
    whole = torch.cat(list(found.values()), dim=1)
    return torch.einsum("oc,bchw->bohw", torch.cat(kernels, dim=1), whole) + bias.view(-1, 1, 1)


def osa(x: Tensor, weights: Weights, stride: int, values: Values) -> Tensor:
    own = under(weights, "inner.chain")
    found = {"from0": x}
    for index in range(int(values["layers"])):
        found[f"from{index + 1}"] = relu(conv_norm(found[f"from{index}"], own, f"convs.{index}"))
    return x + gated(relu(concatenated(found, own, "aggregate")), weights, "inner")


def dense(x: Tensor, weights: Weights, stride: int, values: Values) -> Tensor:
    layers = int(values["layers"])
    log2 = {1: [0], 2: [1, 0], 3: [2, 1], 4: [3, 2, 0], 5: [4, 3, 1]}  # one, two and four before
    links = log2 if values["links"] == "log2" else {p: list(range(p))[::-1] for p in range(1, 6)}
    found = [x]
    for place in range(1, layers + 1):
        given = {f"from{at}": found[at] for at in links[place]}
        hidden = relu(concatenated(given, weights, f"squeezes.{place - 1}"))
        found.append(relu(conv_norm(hidden, weights, f"convs.{place - 1}")))
    given = {f"from{at}": found[at] for at in links[layers + 1]}
    return concatenated(given, weights, f"ends.after{layers}")


def inception_resnet(x: Tensor, weights: Weights, stride: int, values: Values) -> Tensor:
    form, ends = str(values["form"]), {}
    for index, convs in enumerate((1, 2, 3) if form == "a" else (1, 3)):
        y = x
        for at in range(convs):
            y = relu(conv_norm(y, weights, f"branches.{form}{index}.conv{at}"))
        ends[f"{form}{index}"] = y
    return relu(x + 0.2 * concatenated(ends, weights, "join"))


def xception(x: Tensor, weights: Weights, stride: int, values: Values) -> Tensor:
    y = x
    for index in range(int(values["layers"])):
        own = under(weights, f"inner.separable{index}")
        y = conv(relu(y), own["depthwise.weight"], groups=y.shape[1])
        y = conv_norm(y, own, "pointwise")
    if stride > 1:
        height, width = (-(-side // stride) for side in y.shape[-2:])
        largest = torch.empty(*y.shape[:2], height, width, dtype=y.dtype)
        for i in range(height):
            for j in range(width):
                top, left = i * stride, j * stride
                window = y[:, :, max(top - 1, 0) : top + 2, max(left - 1, 0) : left + 2]
                largest[:, :, i, j] = window.amax(dim=(2, 3))
        y = largest
    if under(weights, "shortcut"):
        return y + conv_norm(x[:, :, ::stride, ::stride], weights, "shortcut")
    return y + x


def moat(x: Tensor, weights: Weights, stride: int, values: Values) -> Tensor:
    y = mbconv(x, under(weights, "mbconv"), stride)
    attention = {"window": values["window"], "shift": False}
    return y + MIXERS["window"](y, under(weights, "attention.inner"), attention)


def maxvit(x: Tensor, weights: Weights, stride: int, values: Values) -> Tensor:
    y = mbconv(x, under(weights, "mbconv"), stride)
    near = {"window": values["window"], "shift": False}
    y = mlp(y + MIXERS["window"](y, under(weights, "near.inner"), near), weights, "near_mlp")
    far = {"window": values["window"]}
    return mlp(y + MIXERS["grid"](y, under(weights, "far.inner"), far), weights, "far_mlp")


def head_convolution(x: Tensor, weights: Weights, name: str) -> Tensor:
    own = under(weights, f"{name}.inner")
    (first,) = {key.split(".")[0] for key in own} - {"project"}
    groups = x.shape[1] // int(first.rpartition("_")[2])
    return x + conv_norm(relu(conv_norm(x, own, first, groups=groups)), own, "project")


def ncb(x: Tensor, weights: Weights, stride: int, values: Values) -> Tensor:
    return mlp(head_convolution(x, weights, "local"), weights, "mlp")


def ntb(x: Tensor, weights: Weights, stride: int, values: Values) -> Tensor:
    y = x
    if under(weights, "enter"):
        y = conv_norm(squares(x, stride), weights, "enter.embed")
    y = y + MIXERS["pooled_attention"](y, under(weights, "attention.inner"), values)
    if under(weights, "local"):
        beside = head_convolution(conv_norm(y, weights, "pass_on"), weights, "local")
        channels = []
        for channel in range(y.shape[1] + beside.shape[1]):
            in_round, rounds = channel % 64, channel // 64
            mine = in_round < 48
            channels.append(y[:, 48 * rounds + in_round] if mine else beside[:, 16 * rounds + in_round - 48])
        y = torch.stack(channels, dim=1)
    return mlp(y, weights, "mlp")


def uniformer_local(x: Tensor, weights: Weights, stride: int, values: Values) -> Tensor:
    y = x + conv_norm(x, weights, "position.inner", groups=0)
    relation = under(weights, "relation.inner")
    inside = conv_norm(conv_norm(y, relation, "before"), relation, "depthwise", groups=0)
    return mlp(y + conv_norm(inside, relation, "after"), weights, "mlp")


def uniformer_global(x: Tensor, weights: Weights, stride: int, values: Values) -> Tensor:
    y = x + conv_norm(x, weights, "position.inner", groups=0)
    return mlp(y + MIXERS["attention"](y, under(weights, "relation.inner"), {}), weights, "mlp")


def forward_cross(x: Tensor, weights: Weights, stride: int, values: Values) -> Tensor:
    """Token by token and head by head: own positions, then those that each layer before has summed up."""
    step, crossing = int(values["merge"]), []
    for layer in range(int(values["layers"])):
        own = under(weights, f"layers.{layer}")
        tokens = [x.flatten(2)]
        for source, cross in enumerate(crossing):
            tokens.append(cross * own[f"attention.scales.{source}"])
        seen = torch.cat(tokens, dim=2)[..., None]
        q, k, v = (
            conv_norm(one, own, f"attention.{name}").flatten(2)
            for name, one in zip("qkv", (x, seen, seen), strict=True)
        )
        mixed = torch.empty_like(q)
        for head in range(0, x.shape[1], 16):
            mine = slice(head, head + 16)
            for at in range(q.shape[2]):
                logits = (q[:, mine, at, None] * k[:, mine]).sum(dim=1) / 4
                shares = (logits - logits.amax(dim=1, keepdim=True)).exp()
                shares = shares / shares.sum(dim=1, keepdim=True)
                mixed[:, mine, at] = (v[:, mine] * shares[:, None]).sum(dim=2)
        x = x + conv_norm(mixed.view_as(x), own, "attention.project")
        x = x + conv_norm(x, own, "enhance.inner", groups=0)
        x = mlp(x, own, "mlp")
        if under(weights, f"merges.of{layer}_by{step}"):
            summed = conv_norm(x, weights, f"merges.of{layer}_by{step}", groups=0)
            crossing.append(summed[:, :, ::step, ::step].flatten(2))
    return x


def reversible(x: Tensor, weights: Weights, stride: int, values: Values) -> Tensor:
    sides = [[c for c in range(x.shape[1]) if c // 8 % 2 == side] for side in (0, 1)]
    a, b = (x[:, side] for side in sides)

    def bottleneck(y: Tensor, own: Weights) -> Tensor:
        y = relu(conv_norm(y, own, "expand"))
        return conv_norm(relu(conv_norm(y, own, "depthwise", groups=0)), own, "project")

    for index in range(int(values["couplings"])):
        own = under(weights, f"couplings.{index}")
        a = a + bottleneck(b, under(own, "first"))
        b = b + bottleneck(a, under(own, "second"))
    y = torch.empty_like(x)
    y[:, sides[0]], y[:, sides[1]] = a, b
    return y


PUBLISHED: dict[str, Callable[[Tensor, Weights, int, Values], Tensor]] = {
    "dense": dense,
    "forward_cross": forward_cross,
    "inception_resnet": inception_resnet,
    "maxvit": maxvit,
    "moat": moat,
    "ncb": ncb,
    "ntb": ntb,
    "osa": osa,
    "reversible": reversible,
    "uniformer_global": uniformer_global,
    "uniformer_local": uniformer_local,
    "xception": xception,
}
"""Functions of the input, the weights, the stride and the values of choices, by name."""
