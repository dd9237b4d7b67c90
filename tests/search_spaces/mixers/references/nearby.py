"""Attention to what lies around, kernels made at each position, tokens of heads, factors, and subspaces."""

from __future__ import annotations

import torch
from torch import Tensor

from search_spaces.choice import Value
from tests.search_spaces.mixers.references.basis import Weights, conv_norm, relu, softmax, under
from tests.search_spaces.mixers.references.reduced import HEAD, strided
from tests.search_spaces.mixers.references.slots import heads_between


def around(
    height: int, width: int, here: tuple[int, int], kernel: int, step: int
) -> list[tuple[int, int, int]]:
    """The offsets (number, row, column) that lead from here to a position of the map."""
    found = []
    for number in range(kernel**2):
        row = here[0] + (number // kernel - kernel // 2) * step
        column = here[1] + (number % kernel - kernel // 2) * step
        if 0 <= row < height and 0 <= column < width:
            found.append((number, row, column))
    return found


def neighbourhood(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    kernel, step, (height, width) = int(values["kernel"]), int(values["dilation"]), x.shape[2:]
    q, k, v = (conv_norm(x, weights, name) for name in ("q", "k", "v"))
    table, mixed = weights["bias.table"].flatten(1), torch.empty_like(v)
    for i in range(height):
        for j in range(width):
            seen = around(height, width, (i, j), kernel, step)
            for head in range(x.shape[1] // HEAD):
                part = slice(head * HEAD, (head + 1) * HEAD)
                logits = [
                    (q[:, part, i, j] * k[:, part, row, column]).sum(dim=1) / HEAD**0.5 + table[head, number]
                    for number, row, column in seen
                ]
                chosen = torch.stack([v[:, part, row, column] for _, row, column in seen], dim=2)
                mixed[:, part, i, j] = (softmax(torch.stack(logits, dim=1))[:, None] * chosen).sum(dim=2)
    return conv_norm(mixed, weights, "project")


def span_convolution(x: Tensor, own: Weights, kernel: int) -> Tensor:
    (height, width) = x.shape[2:]
    key = conv_norm(conv_norm(x, own, "span", groups=0), own, "span_key")
    taps, v = conv_norm(conv_norm(x, own, "q") * key, own, f"taps.of_{kernel}"), conv_norm(x, own, "v")
    mixed = torch.zeros_like(v)
    for head in range(v.shape[1] // HEAD):
        part = slice(head * HEAD, (head + 1) * HEAD)
        for i in range(height):
            for j in range(width):
                made = softmax(taps[:, head * kernel**2 : (head + 1) * kernel**2, i, j])
                for number, row, column in around(height, width, (i, j), kernel, 1):
                    mixed[:, part, i, j] += made[:, number, None] * v[:, part, row, column]
    return conv_norm(mixed, own, "project")


def span_attention(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    count = round(4 * float(values["attended"]))
    mixed = heads_between(x, x.flatten(2).unsqueeze(3), weights, f"whole.of_{count}")
    near = under(weights, f"near.of_{4 - count}")
    return mixed + span_convolution(x, near, int(values.get("kernel", 3))) if near else mixed


def head_tokens(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    sums = torch.zeros(len(x), HEAD, 4, 1, dtype=x.dtype)
    for channel in range(x.shape[1]):
        head, place = divmod(channel, HEAD)
        sums[:, place, head % 4, 0] += x[:, channel].mean(dim=(1, 2))
    tokens = relu(conv_norm(sums, weights, "expand")) + weights["place"]
    return heads_between(x, torch.cat([x.flatten(2).unsqueeze(3), tokens], dim=2), weights, "mix")


def window_means(x: Tensor, window: int, step: int) -> Tensor:
    """Means of the positions with one place in their window; of every ``step``-th row and column."""
    sums: dict[tuple[int, int], list[Tensor]] = {}
    for i in range(0, x.shape[2], step):
        for j in range(0, x.shape[3], step):
            sums.setdefault((i // step % window, j // step % window), []).append(x[:, :, i, j])
    return torch.stack([torch.stack(one).mean(dim=0) for one in sums.values()], dim=2).unsqueeze(3)


def factorized_attention(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    window, step = int(values["window"]), int(values["reduction"])
    if step == 1:
        sources = [x, window_means(x, window, 1)]
    else:
        coarse = strided(x, under(weights, f"reduce.by_{step}"), step)
        sources = [coarse, window_means(x, window, 1), window_means(x, window, step)]
    mixed = torch.zeros_like(x)
    for index, source in enumerate(sources):
        name = f"factors.{index}_of_{len(sources)}"
        if under(weights, name):
            mixed = mixed + heads_between(x, source, weights, name)
    return mixed


def subspace(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    size, (height, width) = int(values["subspace"]), x.shape[2:]
    number = x.shape[1] // size
    y = relu(conv_norm(x, weights, "weigh", groups=0))
    most = torch.empty_like(y)
    for i in range(height):
        for j in range(width):
            most[:, :, i, j] = y[:, :, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].amax(dim=(2, 3))
    name = f"gather.of_{size}" if number > 1 else f"gather.whole_{size}"
    seen = relu(conv_norm(most, weights, name, groups=number))
    result = torch.empty_like(x)
    for channel in range(x.shape[1]):
        weighed = softmax(seen[:, channel // size].flatten(1)).reshape(len(x), height, width)
        result[:, channel] = x[:, channel] * weighed
    return result


REFERENCES = {
    "neighbourhood": neighbourhood,
    "span_attention": span_attention,
    "head_tokens": head_tokens,
    "factorized_attention": factorized_attention,
    "subspace": subspace,
}
