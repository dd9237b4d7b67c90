"""Weights that are entries of a table: made from a network, and trained as that.

"Deep Compression: Compressing Deep Neural Networks with Pruning, Trained Quantization and Huffman Coding"
(Han et al., ICLR 2016), section 3: the gradient of an entry is the sum of those of the weights that share it.
Here each output channel has a factor beside, so that a BatchNorm that is folded into the layer is another
factor and the table stays one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from compress.clusters.means import means_of
from compress.names import within

_KINDS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """A weight as entries of a table: ``factors[o] * table[indices[o, i]]``, one vector after another.

    Attributes:
        table: float32 (groups * entries, length), the entries of one group of output channels after another.
        indices: uint8 (outputs, numbers of a channel / length), numbers of entries within the group.
        factors: float32 (outputs,).
        groups: Number of groups of output channels, of equal size.
    """

    table: NDArray[np.float32]
    indices: NDArray[np.uint8]
    factors: NDArray[np.float32]
    groups: int

    @property
    def entries(self) -> int:
        """Entries that a group chooses among."""
        return len(self.table) // self.groups

    @property
    def offsets(self) -> NDArray[np.int64]:
        """First row of the table for each output channel, (outputs,)."""
        outputs = len(self.factors)
        return np.repeat(np.arange(self.groups) * self.entries, outputs // self.groups)

    def weight(self) -> NDArray[np.float32]:
        """The weight, float32 (outputs, numbers of a channel)."""
        whole = self.table[self.indices.astype(np.int64) + self.offsets[:, None]]
        return np.asarray(whole.reshape(len(self.factors), -1) * self.factors[:, None], np.float32)


def palette_of(
    weight: NDArray[np.float32], entries: int, *, length: int, group: int | None, seed: int
) -> Palette:
    """The weight of a layer by k-means, each channel divided by the root of its mean square first.

    Args:
        weight: float32 (outputs, ...).
        entries: entries of a table, up to 256.
        length: numbers that share an index; 1 where a channel's numbers are no multiple of it.
        group: output channels with a table of their own; the whole layer has one where this is None or does
            not divide them.
        seed: seed of the draws.
    """
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    length = length if rows.shape[1] % length == 0 else 1
    groups = len(rows) // group if group and len(rows) % group == 0 else 1
    factors = np.sqrt((rows**2).mean(axis=1))
    found = [
        means_of(part.reshape(-1, length), entries, seed=seed)
        for part in np.split(rows / np.where(factors > 0, factors, 1.0)[:, None], groups)
    ]
    return Palette(
        table=np.concatenate([means for means, _ in found]).astype(np.float32),
        indices=np.concatenate([which for _, which in found]).reshape(len(rows), -1).astype(np.uint8),
        factors=factors.astype(np.float32),
        groups=groups,
    )


class _FromTable(nn.Module):
    """The weight of a layer from its table, which is what is trained in its place.

    The gradient of an entry is divided by the sum of the squared factors of the weights that share it: a step
    along it is then the step along the weights' own gradients, as near as they can follow it together.
    """

    def __init__(self, palette: Palette, weight: Tensor) -> None:
        super().__init__()
        rows = torch.from_numpy(palette.indices.astype(np.int64) + palette.offsets[:, None])
        factors = torch.from_numpy(palette.factors)
        self.register_buffer("rows", rows.to(weight.device))
        self.register_buffer("factors", factors.to(weight)[:, None])
        self.register_buffer("table", torch.from_numpy(palette.table).to(weight))
        members = torch.zeros(len(palette.table)).index_add_(
            0, rows.flatten(), factors.square()[:, None].expand(rows.shape).flatten()
        )
        self.register_buffer("members", members.to(weight)[:, None].clamp_min(1e-12))
        self.shape = weight.shape

    rows: Tensor
    factors: Tensor
    table: Tensor
    members: Tensor

    def forward(self, table: Tensor) -> Tensor:
        """The weight; ``table`` is (groups * entries, length)."""
        if table.requires_grad:
            table = _Divided.apply(table, self.members)
        return (table[self.rows].flatten(1) * self.factors).reshape(self.shape)

    def right_inverse(self, _: Tensor) -> Tensor:
        """The table in the place of the weight."""
        return self.table.clone()


class _Divided(torch.autograd.Function):
    """The same numbers; their gradient divided."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, by: Tensor) -> Tensor:
        ctx.save_for_backward(by)
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return gradients[0] / ctx.saved_tensors[0], None


def cluster(
    network: nn.Module,
    entries: int,
    *,
    length: int = 1,
    group: int | None = None,
    ignore: Collection[str] = (),
    seed: int = 0,
) -> dict[str, Palette]:
    """Has the layers of a network compute with entries of tables, in place; what is trained is the tables.

    Args:
        network: any module without computed weights; convolutions and linear layers are taken.
        entries: entries of a table, from 2 to 256.
        length: numbers that share an index.
        group: output channels with a table of their own; None has one for the layer.
        ignore: names of layers, or of modules that hold them, that stay.
        seed: seed of the draws.

    Returns:
        What each layer begins with, by its name.

    Raises:
        ValueError: a weight is not finite.
    """
    found: dict[str, Palette] = {}
    for name, layer in list(network.named_modules()):
        if type(layer) not in _KINDS or within(name, ignore):
            continue
        weight = layer.weight
        assert isinstance(weight, nn.Parameter)
        shared = sum(one is weight for _, one in network.named_parameters(remove_duplicate=False)) > 1
        if shared or weight.numel() <= entries * length:
            continue
        if not bool(weight.isfinite().all()):
            raise ValueError(f"the weight of {name} is not finite")
        found[name] = palette_of(
            weight.detach().float().cpu().numpy(), entries, length=length, group=group, seed=seed
        )
    for name, palette in found.items():
        layer = network.get_submodule(name)
        weight = layer.weight
        assert isinstance(weight, nn.Parameter)
        parametrize.register_parametrization(layer, "weight", _FromTable(palette, weight), unsafe=True)
    return found


def settle(network: nn.Module, palettes: Mapping[str, Palette]) -> dict[str, Palette]:
    """Makes plain layers of those that ``cluster`` changed, in place.

    Returns:
        What their weights are now, by name.
    """
    found = {}
    for name, palette in palettes.items():
        layer = network.get_submodule(name)
        made: Any = layer.parametrizations["weight"]  # type: ignore[index]
        table = made.original.detach().float().cpu().numpy()
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        found[name] = replace(palette, table=table)
    return found
