"""Attention among chosen positions: which see each other is said by their coordinates, pair by pair."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from search_spaces.choice import Value
from tests.search_spaces.mixers.references.basis import Weights, conv_norm, relu, softmax, under

HEAD = 16

Place = tuple[int, int]
Group = Callable[[int, int], int]
"""The group of a position along a side, by position and size of the side."""


def linear(x: Tensor, weights: Weights, name: str) -> Tensor:
    y = x @ weights[f"{name}.weight"].T
    return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y


def log_bias(offset: Place, weights: Weights) -> Tensor:
    """(heads,) for two positions so many rows and columns apart."""
    d = torch.tensor(offset, dtype=torch.float64)
    hidden = relu(linear(torch.sign(d) * torch.log2(1 + d.abs()), weights, "bias.log.expand"))
    return 16 / (1 + torch.exp(-linear(hidden, weights, "bias.log.project")))


def offset_bias(offset: Place, weights: Weights) -> Tensor:
    x = linear(torch.tensor(offset, dtype=torch.float64), weights, "bias.offset.first")
    for i in range(3):
        x = (x - x.mean()) / torch.sqrt(((x - x.mean()) ** 2).mean() + 1e-5)
        x = x * weights[f"bias.offset.norms.{i}.weight"] + weights[f"bias.offset.norms.{i}.bias"]
        x = linear(relu(x), weights, f"bias.offset.linears.{i}")
    return x


def bias_of(offset: Place, weights: Weights) -> Tensor:
    if under(weights, "bias.log"):
        return log_bias(offset, weights)
    if under(weights, "bias.offset"):
        return offset_bias(offset, weights)
    return torch.zeros(10_000, dtype=torch.float64)


def weighed(logits: Tensor, values: Tensor, weights: Weights) -> Tensor:
    """(B, d) of logits (B, n) and values (B, d, n)."""
    if "attend.norm.weight" not in weights:
        return (softmax(logits)[:, None] * values).sum(dim=2)
    y = (relu(logits)[:, None] * values).sum(dim=2)
    mean = y.mean(dim=1, keepdim=True)
    y = (y - mean) / torch.sqrt(((y - mean) ** 2).mean(dim=1, keepdim=True) + 1e-5)
    return y * weights["attend.norm.weight"] + weights["attend.norm.bias"]


def likeness(q: Tensor, k: Tensor, weights: Weights, head: int) -> Tensor:
    """(B, n) of a query (B, d) and keys (B, d, n)."""
    if "attend.scale" not in weights:
        return (q[:, :, None] * k).sum(dim=1) / q.shape[1] ** 0.5
    lengths = q.norm(dim=1)[:, None] * k.norm(dim=1)
    scale = min(100.0, float(torch.exp(weights["attend.scale"][head].squeeze())))
    return (q[:, :, None] * k).sum(dim=1) / lengths * scale


def among(
    x: Tensor, weights: Weights, rows: Group, columns: Group, apart: Place = (1, 1), head: int = HEAD
) -> Tensor:
    """Each position attends to those that have its group of rows and its group of columns.

    Args:
        x: (B, C, H, W).
        weights: those of the heads.
        rows: gives the group of a row.
        columns: gives the group of a column.
        apart: rows and columns from a position to the next of its group, by which offsets are counted.
        head: channels of a head.
    """
    height, width = x.shape[2:]
    q, k, v = (conv_norm(x, weights, name) for name in ("q", "k", "v"))
    mixed = torch.empty_like(v)
    places = [(i, j) for i in range(height) for j in range(width)]
    for here in places:
        seen = [
            one
            for one in places
            if rows(one[0], height) == rows(here[0], height)
            and columns(one[1], width) == columns(here[1], width)
        ]
        offsets = [((here[0] - i) // apart[0], (here[1] - j) // apart[1]) for i, j in seen]
        biases = torch.stack([bias_of(offset, weights) for offset in offsets], dim=-1)
        for start in range(0, v.shape[1], head):
            part = slice(start, start + head)
            keys, values = (torch.stack([one[:, part, i, j] for i, j in seen], dim=2) for one in (k, v))
            logits = likeness(q[:, part, *here], keys, weights, start // head) + biases[start // head]
            mixed[:, part, *here] = weighed(logits, values, weights)
    return conv_norm(mixed, weights, "project")


def windows(longest: int, *, shifted: bool = False) -> Group:
    """As few windows as can be, as short as can be; shifted, the first one is half of one."""

    def group(at: int, size: int) -> int:
        count = (size + longest - 1) // longest
        length = (size + count - 1) // count
        return (at - (length // 2 if shifted and count > 1 else 0)) // length

    return group


def window(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    group = windows(int(values["window"]), shifted=bool(values["shift"]))
    return among(x, under(weights, "heads"), group, group, head=int(values.get("head_channels", HEAD)))


def double_window(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    group = windows(int(values["window"]))
    mixed = among(x, under(weights, "heads"), group, group)
    if under(weights, "shifted"):
        group = windows(int(values["window"]), shifted=True)
        mixed = mixed + among(x, under(weights, "shifted"), group, group)
    return mixed


def grid(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    apart = tuple(-(-size // int(values["window"])) for size in x.shape[2:])
    rows, columns = (lambda at, size, step=step: at % step for step in apart)
    return among(x, under(weights, "heads"), rows, columns, apart)


REFERENCES = {"window": window, "double_window": double_window, "grid": grid}
