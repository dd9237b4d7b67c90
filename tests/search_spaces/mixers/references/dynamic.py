"""Kernels that follow from the image, the position, or both."""

from __future__ import annotations

import math
from collections.abc import Mapping

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
    softmax,
    under,
)


def mixed_kernel(x: Tensor, own: Weights, image: int) -> Tensor:
    """The kernel (outputs, inputs or 1, kh, kw) of one image: experts weighed by sigmoids of its means."""
    means = x[image].mean(dim=(1, 2))
    kernel = torch.zeros_like(own["weight"][0])
    for expert, row in enumerate(own["route.weight"]):
        logit = (row[:, 0, 0] * means).sum() + own["route.bias"][expert]
        kernel += own["weight"][expert] / (1 + torch.exp(-logit))
    return kernel


def condconv(x: Tensor, weights: Weights, values: Mapping[str, Value]) -> Tensor:
    own = under(weights, "conv")
    channels = x.shape[1]
    mixed = [conv(x[i : i + 1], mixed_kernel(x, own, i), groups=channels) for i in range(len(x))]
    return relu(norm(torch.cat(mixed), under(weights, "norm")))


def fdconv(x: Tensor, weights: Weights, values: Mapping[str, Value]) -> Tensor:
    """The transform of the kernel, each of its frequencies scaled by its band's share."""
    bands, kernel = int(values["kernel_bands"]), int(values["kernel"])
    half = kernel // 2
    pairs = [(u, v) for u in range(-half, half + 1) for v in range(-half, half + 1) if (u, v) >= (0, 0)]
    pairs.sort(key=lambda one: (math.sqrt(one[0] ** 2 + one[1] ** 2), one))
    spectrum = torch.fft.fft2(weights["parts.weight"])
    route, bias = weights[f"route_{bands}.weight"][:, :, 0, 0], weights[f"route_{bands}.bias"]
    images = []
    for image in x:
        shares = 2 / (1 + torch.exp(-(route @ image.mean(dim=(1, 2)) + bias)))
        scaled = spectrum.clone()
        for index, (u, v) in enumerate(pairs):
            share = shares[min(index * bands // len(pairs), bands - 1)]
            if len(pairs) < bands:
                share = shares[index]
            scaled[:, u % kernel, v % kernel] = spectrum[:, u % kernel, v % kernel] * share
            scaled[:, -u % kernel, -v % kernel] = spectrum[:, -u % kernel, -v % kernel] * share
        own = torch.fft.ifft2(scaled).real[:, None]
        images.append(conv(image[None], own, groups=x.shape[1]))
    return relu(norm(torch.cat(images), under(weights, "norm")))


def in_windows(x: Tensor, weight: Tensor, group: int) -> Tensor:
    """y[c] = sum over the window of weight[c // group, di, dj] x[c, i + di, j + dj].

    ``weight`` is (B or 1, groups, k, k, H, W).
    """
    kernel = weight.shape[2]
    mixed = torch.zeros_like(x)
    for i in range(kernel):
        for j in range(kernel):
            moved = shifted(x, i - kernel // 2, j - kernel // 2)
            for channel in range(x.shape[1]):
                mixed[:, channel] += weight[:, channel // group, i, j] * moved[:, channel]
    return mixed


def taps(x: Tensor, own: Weights) -> Tensor:
    """(B, groups, k, k, H, W) from (B, C, H, W), linear at every position."""
    linear = torch.einsum("gijc,bchw->bgijhw", own["weight"], x)
    return linear + own["bias"][None, ..., None, None]


def involution(x: Tensor, weights: Weights, values: Mapping[str, Value]) -> Tensor:
    own = taps(relu(conv_norm(x, weights, "reduce")), under(weights, "taps"))
    return relu(norm(in_windows(x, own, 8), under(weights, "norm")))


def lsconv(x: Tensor, weights: Weights, values: Mapping[str, Value]) -> Tensor:
    seen = conv_norm(relu(conv_norm(x, weights, "reduce")), weights, "look", groups=0)
    own = taps(relu(conv_norm(seen, weights, "mix")), under(weights, "taps"))
    for image in own:
        for group in range(len(image)):
            mean = image[group].mean()
            spread = ((image[group] - mean) ** 2).mean()
            image[group] = (image[group] - mean) / torch.sqrt(spread + 1e-5)
    scale, shift = (weights[f"normalise.{name}"][..., None, None] for name in ("weight", "bias"))
    return norm(in_windows(x, own * scale + shift, 8), under(weights, "norm"))


def regions_of(x: Tensor, regions: int) -> Tensor:
    """Means of regions x regions parts of the map, which overlap where sides do not divide."""
    _, _, height, width = x.shape
    means = torch.zeros(*x.shape[:2], regions, regions, dtype=x.dtype)
    for i in range(regions):
        for j in range(regions):
            rows = slice(math.floor(i * height / regions), math.ceil((i + 1) * height / regions))
            columns = slice(math.floor(j * width / regions), math.ceil((j + 1) * width / regions))
            means[:, :, i, j] = x[:, :, rows, columns].mean(dim=(2, 3))
    return means


def contmix(x: Tensor, weights: Weights, values: Mapping[str, Value]) -> Tensor:
    """Head by head: even ones have the small window, odd ones the large; eight channels, four in q and k."""
    _, channels, height, width = x.shape
    q = conv_norm(x, weights, "q")
    k = conv_norm(regions_of(x, 7), weights, "k").flatten(2)
    mixed = torch.empty_like(x)
    for head in range(channels // 8):
        own = under(weights, "large" if head % 2 else "small")
        kernel = own["weight"].shape[0]
        inner, outer = slice(4 * head, 4 * head + 4), slice(8 * head, 8 * head + 8)
        likeness = torch.einsum("bdhw,bdr->bhwr", q[:, inner], k[:, inner]) / 2
        logits = torch.einsum("ijr,bhwr->bhwij", own["weight"], likeness) + own["bias"][head // 2]
        window = softmax(logits.flatten(3)).reshape(len(x), height, width, kernel, kernel)
        mixed[:, outer] = in_windows(x[:, outer], window.permute(0, 3, 4, 1, 2)[:, None], 8)
    return conv_norm(mixed, weights, "project")


def interpolated(samples: Tensor, side: int) -> Tensor:
    """Linear along the last axis, pixels' centres spread evenly; the ends go on as they are."""
    given = samples.shape[-1]
    result = torch.empty(*samples.shape[:-1], side, dtype=samples.dtype)
    for pixel in range(side):
        place = min(max((pixel + 0.5) * given / side - 0.5, 0), given - 1)
        low = min(int(place), max(given - 2, 0))
        high = min(low + 1, given - 1)
        result[..., pixel] = samples[..., low] * (1 - (place - low)) + samples[..., high] * (place - low)
    return result


def tvconv(x: Tensor, weights: Weights, values: Mapping[str, Value]) -> Tensor:
    own = under(weights, "layout")
    maps = interpolated(own["maps"], x.shape[3])
    maps = interpolated(maps.transpose(2, 3), x.shape[2]).transpose(2, 3)
    for first in (0, 3):
        inner = under(own, f"network.{first}")
        maps = conv(maps, inner["weight"], bias=inner["bias"])
        maps = (maps - maps.mean()) / torch.sqrt(((maps - maps.mean()) ** 2).mean() + 1e-5)
        scale, shift = (own[f"network.{first + 1}.{name}"].view(-1, 1, 1) for name in ("weight", "bias"))
        maps = relu(maps * scale + shift)
    return relu(norm(in_windows(x, taps(maps, under(own, "taps")), 1), under(weights, "norm")))


def between_pixels(image: Tensor, row: float, column: float) -> Tensor:
    """The channels (C,) at a place between the pixels of (C, H, W), bilinear, zero beyond the map."""
    _, height, width = image.shape
    top, left = math.floor(row), math.floor(column)
    total = torch.zeros(len(image), dtype=image.dtype)
    for i in (top, top + 1):
        for j in (left, left + 1):
            if 0 <= i < height and 0 <= j < width:
                total += image[:, i, j] * (1 - abs(row - i)) * (1 - abs(column - j))
    return total


def dcnv4(x: Tensor, weights: Weights, values: Mapping[str, Value]) -> Tensor:
    batch, channels, height, width = x.shape
    value = conv_norm(x, weights, "value")
    seen = conv(x, weights["look.weight"], groups=channels, bias=weights["look.bias"])
    numbers = {}
    for name in ("offsets", "weights"):
        own = under(weights, name)
        linear = torch.einsum("gijnc,bchw->bgijnhw", own["weight"], seen)
        numbers[name] = linear + own["bias"][None, ..., None, None]
    points = int(values["points"])
    mixed = torch.zeros_like(x)
    for b in range(batch):
        for group in range(channels // 8):
            part = slice(8 * group, 8 * group + 8)
            for i, j, row, column in ((i, j, r, c) for i in range(points) for j in range(points)
                                      for r in range(height) for c in range(width)):  # fmt: skip
                down, right = numbers["offsets"][b, group, i, j, :, row, column].tolist()
                place = (row + i - points // 2 + down, column + j - points // 2 + right)
                weight = numbers["weights"][b, group, i, j, 0, row, column]
                mixed[b, part, row, column] += weight * between_pixels(value[b, part], *place)
    return conv_norm(mixed, weights, "project")


REFERENCES = {
    "condconv": condconv,
    "fdconv": fdconv,
    "involution": involution,
    "lsconv": lsconv,
    "contmix": contmix,
    "tvconv": tvconv,
    "dcnv4": dcnv4,
}
