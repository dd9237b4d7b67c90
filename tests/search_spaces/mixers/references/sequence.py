"""Long convolutions and other mixers of sequences, position by position."""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from search_spaces.choice import Value
from tests.search_spaces.mixers.references.basis import Weights, conv, conv_norm, norm, relu, under
from tests.search_spaces.mixers.references.generated import sines

Coefficient = Callable[[int], Tensor]
"""The weights (C,) of what lies so many positions away: before where negative."""


def long(x: Tensor, weights: Weights, reach: int, coefficient: Coefficient) -> Tensor:
    """y_i = sum over j within reach of w(j - i) x_j, its norm and activation, and the 1x1 convolution."""
    flat = x.flatten(2)
    positions = flat.shape[2]
    mixed = torch.zeros_like(flat)
    known = {away: coefficient(away) for away in range(-reach, reach + 1) if abs(away) < positions}
    for i in range(positions):
        for j in range(positions):
            if abs(j - i) <= reach:
                mixed[:, :, i] += known[j - i] * flat[:, :, j]
    mixed = relu(norm(mixed.unflatten(2, x.shape[2:]), under(weights, "long.norm")))
    return conv_norm(mixed, weights, "project")


def long_conv(x: Tensor, weights: Weights, values: Mapping[str, Value]) -> Tensor:
    inner, reach = under(weights, "inner"), int(values["reach"])
    own = under(inner, "long.conv.kernel")

    def coefficient(away: int) -> Tensor:
        value = own["weight"][:, reach + away]
        squashed = torch.sign(value) * (value.abs() - 0.003).clamp(min=0)
        return squashed + (own["direct"] if away == 0 else 0)

    return long(x, inner, reach, coefficient)


def sgconv(x: Tensor, weights: Weights, values: Mapping[str, Value]) -> Tensor:
    inner, reach = under(weights, "inner"), int(values["reach"])
    own = under(inner, "long.conv.kernel")

    def coefficient(away: int) -> Tensor:
        if away == 0:
            return own["direct"]
        place, scale, length = abs(away) - 1, 0, 8
        while place >= length:  # which piece, and where in it
            place -= length
            scale += 1
            length = 8 * 2 ** max(0, scale - 1)
        at = min(max((place + 0.5) * 8 / length - 0.5, 0.0), 7.0)
        piece = own[f"pieces.{scale}"][0 if away < 0 else 1]  # (C, 8)
        low, high = math.floor(at), min(math.floor(at) + 1, 7)
        return (piece[:, low] * (1 - at + low) + piece[:, high] * (at - low)) / 2**scale

    return long(x, inner, reach, coefficient)


def ckconv(x: Tensor, weights: Weights, values: Mapping[str, Value]) -> Tensor:
    inner = under(weights, "inner")
    network = under(inner, "long.conv.kernel.network")

    def coefficient(away: int) -> Tensor:
        return sines(torch.tensor([away / 32], dtype=x.dtype), network)

    return long(x, inner, int(values["reach"]), coefficient)


def selective_scan(x: Tensor, weights: Weights, values: Mapping[str, Value]) -> Tensor:
    """Two recursions, forth and back, by the same decay between two positions; a position is in the first
    alone."""

    def silu(y: Tensor) -> Tensor:
        return y / (1 + torch.exp(-y))

    given = silu(conv_norm(conv_norm(x, weights, "enter"), weights, "local", groups=0)).flatten(2)
    step = torch.log(1 + torch.exp(conv_norm(x, weights, "step").flatten(2)))
    write, read = (conv_norm(x, weights, name).flatten(2) for name in ("write", "read"))
    rates, direct = torch.exp(weights["log_rate"]).flatten(), weights["direct"].flatten()
    head, positions = given.shape[1] // len(rates), given.shape[2]
    mixed = torch.zeros_like(given)
    for channel in range(given.shape[1]):
        at = channel // head
        kept = torch.exp(-rates[at] * step[:, at])
        written = (step[:, at] * given[:, channel])[:, None] * write  # (B, states, N)
        state = torch.zeros_like(written[:, :, 0])
        for t in range(positions):
            state = kept[:, None, t] * state + written[:, :, t]
            mixed[:, channel, t] += (read[:, :, t] * state).sum(dim=1) + direct[at] * given[:, channel, t]
        state = torch.zeros_like(state)
        for t in reversed(range(positions - 1)):
            state = kept[:, None, t + 1] * (state + written[:, :, t + 1])
            mixed[:, channel, t] += (read[:, :, t] * state).sum(dim=1)
    gate = silu(conv_norm(x, weights, "gate"))
    return conv_norm(mixed.reshape(x.shape) * gate, weights, "project")


def state_space(x: Tensor, weights: Weights, values: Mapping[str, Value]) -> Tensor:
    inner = under(weights, "scan.inner")
    own = under(inner, "long.conv.kernel")
    channels, states = own["frequency"].shape

    def coefficient(away: int) -> Tensor:
        way, result = (0 if away <= 0 else 1), torch.zeros(channels, dtype=x.dtype)
        for c in range(channels):
            step = math.exp(float(own["log_step"][c]))
            for n in range(states):
                pole = complex(-math.exp(float(own["log_damping"][c, n])), float(own["frequency"][c, n]))
                weight = complex(float(own["real"][way, c, n]), float(own["imaginary"][way, c, n]))
                weight *= (cmath.exp(step * pole) - 1) / pole
                result[c] += 2 * (weight * cmath.exp(step * pole * abs(away))).real
        return result + (own["direct"] if away == 0 else 0)

    return long(x, inner, int(values["reach"]), coefficient)


def stu(x: Tensor, weights: Weights, values: Mapping[str, Value]) -> Tensor:
    inner, reach, filters = under(weights, "inner"), int(values["reach"]), int(values["filters"])
    own = under(inner, "long.conv.kernel")
    hankel = np.array(
        [[2 / ((i + j) ** 3 - (i + j)) for j in range(1, reach + 2)] for i in range(1, reach + 2)]
    )
    strengths, vectors = np.linalg.eigh(hankel)

    def coefficient(away: int) -> Tensor:
        way, result = (0 if away <= 0 else 1), torch.zeros_like(own["direct"])
        for k in range(filters):
            vector = vectors[:, reach - k]
            value = (
                vector[abs(away)] * np.sign(vector[np.abs(vector).argmax()]) * strengths[reach - k] ** 0.25
            )
            result += value * (own["plain"][way, :, k] + (-1) ** away * own["alternating"][way, :, k])
        return result + (own["direct"] if away == 0 else 0)

    return long(x, inner, reach, coefficient)


def multires(x: Tensor, weights: Weights, values: Mapping[str, Value]) -> Tensor:
    """Every scale from the one before, both filters reaching back."""
    inner = under(weights, "inner")
    own = under(inner, "tree")
    coarse = x.flatten(2)
    mixed = own["direct"][:, None] * coarse
    for scale in range(int(values["scales"])):
        found = {}
        for name in ("fine", "coarse"):
            taps = own[name][:, 0, 0]  # (C, taps)
            found[name] = torch.zeros_like(coarse)
            for tap in range(taps.shape[1]):
                back = (taps.shape[1] - 1 - tap) * 2**scale
                for i in range(back, coarse.shape[2]):
                    found[name][:, :, i] += taps[:, tap] * coarse[:, :, i - back]
        mixed = mixed + own[f"details.{scale}"][:, None] * found["fine"]
        coarse = found["coarse"]
    mixed = relu(mixed + own["rest"][:, None] * coarse).unflatten(2, x.shape[2:])
    return conv_norm(mixed, inner, "project")


def orchid(x: Tensor, weights: Weights, values: Mapping[str, Value]) -> Tensor:
    own, size = under(weights, "inner"), x.shape[2:]
    x = x.flatten(2)[:, :, None]
    positions = x.shape[3]
    seen = torch.fft.rfft(conv_norm(x, own, "position", groups=0))
    strength = ((seen.real**2 + seen.imag**2) / positions + 1e-6) ** 0.5
    spectrum = conv(strength, own["frequency.weight"], groups=x.shape[1], bias=own["frequency.bias"])
    kernel = torch.fft.irfft(spectrum.to(torch.complex128), n=positions)
    gated = conv_norm(x, own, "before") * conv_norm(x, own, "value")
    mixed = torch.zeros_like(x)
    for back in range(positions):
        mixed += kernel[..., back : back + 1] * torch.roll(gated, back, dims=3)
    return conv_norm(conv_norm(x, own, "after") * mixed, own, "project").flatten(2).unflatten(2, size)


def dilated(x: Tensor, weights: Weights, values: Mapping[str, Value]) -> Tensor:
    y = x.flatten(2)[:, :, None]
    for layer in range(int(values["layers"])):
        dilation = int(values["growth"]) ** layer
        name = f"inner.layer{layer}_of_{dilation}"
        y = relu(conv_norm(y, weights, name, groups=0, dilation=dilation))
    return y.flatten(2).unflatten(2, x.shape[2:])


REFERENCES = {
    "long_conv": long_conv,
    "sgconv": sgconv,
    "ckconv": ckconv,
    "state_space": state_space,
    "selective_scan": selective_scan,
    "stu": stu,
    "multires": multires,
    "orchid": orchid,
    "dilated": dilated,
}
