"""Matrices over positions, learned or drawn."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from search_spaces.choice import Value
from tests.search_spaces.mixers.references.basis import Weights, conv_norm, relu, under


def length(size: int, longest: int) -> int:
    """Positions of a group along a side: as few groups as can be, as short as can be."""
    groups = -(-size // longest)
    return -(-size // groups)


def token_mlp(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    height, width = x.shape[2:]
    rows, columns = length(height, 8), length(width, 8)
    first, second = under(weights, "expand"), under(weights, "project")
    y = torch.zeros_like(x)
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            places = [
                (i, j) for i in range(min(rows, height - top)) for j in range(min(columns, width - left))
            ]
            for batch in range(len(x)):
                for channel in range(x.shape[1]):
                    hidden = first["bias"].clone()
                    for i, j in places:
                        hidden += first["weight"][:, i, j] * x[batch, channel, top + i, left + j]
                    hidden = relu(hidden)
                    for i, j in places:
                        value = (second["weight"][i, j] * hidden).sum() + second["bias"][i, j]
                        y[batch, channel, top + i, left + j] = value
    return y


def gates(x: Tensor, weights: Weights, name: str, window: int, *, far: bool) -> Tensor:
    own = under(weights, name)
    matrix, bias = (own[f"positions.window{window}.{one}"] for one in ("weight", "bias"))
    gated, gate = relu(conv_norm(x, own, "gated")), conv_norm(x, own, "gate")
    height, width = x.shape[2:]
    mixed = torch.zeros_like(gate)
    for i in range(height):
        for j in range(width):
            (at_row, rows), (at_column, columns) = (
                place_and_fellows(at, size, window, far=far) for at, size in ((i, height), (j, width))
            )
            total = bias[at_row, at_column].expand_as(mixed[:, :, i, j]).clone()
            for place_row, row in rows:
                for place_column, column in columns:
                    weight = matrix[at_row, at_column, place_row, place_column]
                    total += weight * gate[:, :, row, column]
            mixed[:, :, i, j] = total
    return conv_norm(gated * mixed, own, "project")


def place_and_fellows(at: int, size: int, longest: int, *, far: bool) -> tuple[int, list[tuple[int, int]]]:
    """The place of a position in its group along a side, and the places and positions of all in it."""
    groups = -(-size // longest)
    if far:
        return at // groups, [(one // groups, one) for one in range(at % groups, size, groups)]
    own = -(-size // groups)
    start = at // own * own
    return at - start, [(one - start, one) for one in range(start, min(start + own, size))]


def multi_axis(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    window = int(values["window"])
    return gates(x, weights, "near", window, far=False) + gates(x, weights, "far", window, far=True)


def random_mixing(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    positions = x.shape[2] * x.shape[3]
    drawn = np.random.default_rng(int(values["draw"])).random((positions, positions))
    y = torch.empty_like(x.flatten(2))
    for to in range(positions):
        row = torch.from_numpy(np.exp(drawn[to]) / np.exp(drawn[to]).sum())
        y[:, :, to] = (row * x.flatten(2)).sum(dim=2)
    return y.reshape(x.shape)


REFERENCES = {"token_mlp": token_mlp, "multi_axis": multi_axis, "random_mixing": random_mixing}
