"""Filters by frequency with torch's own transforms, cosine transforms term by term, wavelets pixel by
pixel."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from search_spaces.choice import Value
from tests.search_spaces.mixers.references.basis import Weights, conv, conv_norm, norm, relu, under


def aff(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    width = int(values["filter_width"])
    groups = x.shape[1] // width
    own = under(weights, f"mask.groups_of_{width}" if groups > 1 else f"mask.dense_{width}")
    frequencies = torch.fft.rfft2(x, norm="ortho")
    mask = torch.empty_like(frequencies)
    for group in range(groups):
        mine, both = (
            slice(group * width, (group + 1) * width),
            slice(2 * group * width, 2 * (group + 1) * width),
        )
        parts = torch.cat([frequencies.real[:, mine], frequencies.imag[:, mine]], dim=1)
        statistics = {name: one[both] for name, one in under(own, "0.norm").items() if one.ndim}
        hidden = relu(norm(conv(parts, own["0.conv.weight"][both]), statistics))
        made = conv(hidden, own["1.weight"][both], bias=own["1.bias"][both])
        mask[:, mine] = torch.complex(made[:, :width], made[:, width:])
    return torch.fft.irfft2(frequencies * mask, s=x.shape[2:], norm="ortho")


def cosine(x: Tensor, axis: int) -> Tensor:
    """DCT-II along an axis, orthonormal, term by term."""
    size, x = x.shape[axis], x.movedim(axis, -1)
    y = torch.zeros_like(x)
    for u in range(size):
        for i in range(size):
            y[..., u] += x[..., i] * math.cos(math.pi / size * (i + 0.5) * u)
        y[..., u] *= math.sqrt((1 if u == 0 else 2) / size)
    return y.movedim(-1, axis)


def inverse_cosine(x: Tensor, axis: int) -> Tensor:
    size, x = x.shape[axis], x.movedim(axis, -1)
    y = torch.zeros_like(x)
    for i in range(size):
        for u in range(size):
            term = math.sqrt((1 if u == 0 else 2) / size) * math.cos(math.pi / size * (i + 0.5) * u)
            y[..., i] += x[..., u] * term
    return y.movedim(-1, axis)


def dct_mixer(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    number = int(values["bands"])
    squeeze, excite = under(weights, "squeeze"), under(weights, f"gains.bands{number}")
    hidden = relu(x.mean(dim=(2, 3)) @ squeeze["weight"][:, :, 0, 0].T + squeeze["bias"])
    gains = torch.sigmoid(hidden @ excite["weight"][:, :, 0, 0].T + excite["bias"])
    spectrum = cosine(cosine(conv_norm(x, weights, "enter"), 2), 3)
    height, width = x.shape[2:]
    for channel in range(x.shape[1]):
        for u in range(height):
            for v in range(width):
                band = int(number * max(u / height, v / width))
                spectrum[:, channel, u, v] *= gains[:, channel * number + band]
    return conv_norm(inverse_cosine(inverse_cosine(spectrum, 2), 3), weights, "project")


def spam(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    y = conv_norm(x, weights, "enter")
    y = conv_norm(conv_norm(y, weights, "row", groups=0), weights, "column", groups=0)
    height, width = y.shape[2:]
    down = torch.fft.fftfreq(height, 1 / height, dtype=torch.float64)
    right = torch.fft.fftfreq(width, 1 / width, dtype=torch.float64)
    low = (down[:, None] ** 2 + right**2) <= int(values["radius"]) ** 2 + 1e-9
    context = torch.empty_like(y)
    for channel in range(y.shape[1]):
        share = (0.7, 0.7, 0.7, 0.8, 0.8, 0.8, 0.9, 0.9)[channel % 8]
        frequencies = torch.fft.fft2(y[:, channel])
        balance = share * low.double() + (1 - share) * (~low).double()
        context[:, channel] = torch.fft.ifft2(frequencies * balance).real
    return conv_norm(y * conv_norm(context, weights, "gather"), weights, "project")


def haar(x: Tensor) -> tuple[Tensor, Tensor]:
    """The means, and all four bands of each channel side by side."""
    batch, channels, height, width = x.shape
    rows, columns = -(-height // 2), -(-width // 2)
    y = torch.empty(batch, channels, 4, rows, columns, dtype=x.dtype)
    for i in range(rows):
        for j in range(columns):
            top, left = 2 * i, 2 * j
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            a, b, c, d = x[..., top, left], x[..., top, right], x[..., bottom, left], x[..., bottom, right]
            bands = (a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d)
            y[..., i, j] = torch.stack(bands, dim=-1) / 2
    return y[:, :, 0], y.reshape(batch, 4 * channels, rows, columns)


def transposed(x: Tensor, weight: Tensor) -> Tensor:
    """A transposed convolution of kernel 4, stride 2 and padding 1: every pixel lays its kernel down."""
    batch, _, height, width = x.shape
    y = torch.zeros(batch, weight.shape[1], 2 * height + 2, 2 * width + 2, dtype=x.dtype)
    for i in range(height):
        for j in range(width):
            y[:, :, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += torch.einsum(
                "bc,cohw->bohw", x[:, :, i, j], weight
            )
    return y[:, :, 1:-1, 1:-1]


def wavemix(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    def from_level(low: Tensor, level: int) -> Tensor:
        means, bands = haar(low)
        if level + 1 < int(values["levels"]):
            bands = bands + from_level(means, level + 1)
        own = under(weights, f"mlps.{level}")
        mixed = conv_norm(relu(conv_norm(bands, own, "expand")), own, "project")
        up = under(weights, f"ups.{level}")
        raised = norm(transposed(mixed, up["0.weight"]), under(up, "1"))
        return raised[:, :, : low.shape[2], : low.shape[3]]

    return from_level(conv_norm(x, weights, "reduce"), 0)


REFERENCES = {"aff": aff, "dct_mixer": dct_mixer, "spam": spam, "wavemix": wavemix}
