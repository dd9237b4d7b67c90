"""Small networks of many kinds: what users bring to be pruned, each with an example."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Attention whose queries, keys and values are one layer.

    Args:
        heads: how many there are, the reshape inferring their size; or -1, and their size is 8.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.shape = (3, heads, -1) if heads > 0 else (3, -1, 8)
        self.norm, self.qkv, self.proj = (
            nn.LayerNorm(width),
            nn.Linear(width, 3 * width),
            nn.Linear(width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(batch, tokens, *self.shape).permute(2, 0, 3, 1, 4)
        return x + self.proj(
            F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, -1)
        )


class Separate(nn.Module):
    """Attention with a layer each for queries, keys and values, in heads of 8."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q, self.k, self.v, self.proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            layer(x).reshape(x.shape[0], x.shape[1], -1, 8).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        mixed = (q @ k.transpose(-2, -1) * 8**-0.5).softmax(-1) @ v
        return x + self.proj(mixed.transpose(1, 2).flatten(2))


class Shuffled(nn.Module):
    """A channel shuffle behind a norm."""

    def __init__(self, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.a, self.norm, self.c, self.head = (
            nn.Linear(12, 32),
            norm(32),
            nn.Linear(32, 16),
            nn.Linear(16, 5),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm(self.a(x)))
        y = y.view(y.shape[0], 4, -1).transpose(1, 2).reshape(y.shape)
        return self.head(torch.relu(self.c(y)))


class Residual(nn.Module):
    """A block of a residual network with GroupNorms."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = (nn.Conv2d(inputs, 32, 3, padding=1) for inputs in (3, 32, 32))
        self.norms = nn.ModuleList(nn.GroupNorm(4, 32) for _ in range(3))
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.norms[0](self.stem(x)))
        y = self.norms[2](self.two(F.silu(self.norms[1](self.one(x)))))
        return self.head((x + y).mean((2, 3)))


class ConvNext(nn.Module):
    """Depthwise convolution, LayerNorm over channels that come last, two linear layers, a layer scale."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, 16, 2, 2), nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.norm, self.up, self.down = nn.LayerNorm(16), nn.Linear(16, 64), nn.Linear(64, 16)
        self.scale, self.head = nn.Parameter(torch.ones(16)), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = (self.scale * self.down(F.gelu(self.up(y)))).permute(0, 3, 1, 2)
        return self.head((x + y).mean((2, 3)))


class UNet(nn.Module):
    """Down, up by a transposed convolution, and a concatenation; InstanceNorms between."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 32, 3, 2, padding=1)
        self.norm, self.up = nn.InstanceNorm2d(32, affine=True), nn.ConvTranspose2d(32, 16, 2, 2)
        self.join, self.last = nn.Conv2d(32, 16, 3, padding=1), nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.down(x))
        y = self.up(torch.relu(self.norm(self.deep(x))))
        return self.last(torch.relu(self.join(torch.cat([x, y], 1))))


class Recurrent(nn.Module):
    """A GRU between linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.gru, self.b = nn.Linear(8, 16), nn.GRU(16, 16, batch_first=True), nn.Linear(16, 32)
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.b(self.gru(self.a(x))[0][:, -1])))


class Siamese(nn.Module):
    """One trunk for two crops of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3)
        )
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        left, right = (self.trunk(part).mean((2, 3)) for part in x.chunk(2, 3))
        return self.head((left - right).abs())


class Careful(nn.Module):
    """Takes pixels in bytes, and gives two outputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3)
        self.box, self.kind = nn.Conv2d(16, 4, 1), nn.Conv2d(16, 10, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = torch.relu(self.b(torch.relu(self.a(x.float() / 255))))
        return {"box": self.box(y), "kind": self.kind(y)}


def _sequence(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(5))


def _convolutions(middle: nn.Module) -> nn.Module:
    return _sequence(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), middle, nn.ReLU(), nn.Conv2d(32, 16, 1))


PICTURE, TOKENS = (3, 8, 8), (6, 12)
ARCHITECTURES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "packed, heads of 8": (
        lambda: nn.Sequential(nn.Linear(12, 32), Attention(32, -1), nn.Linear(32, 5)),
        TOKENS,
    ),
    "packed, 4 heads": (lambda: nn.Sequential(nn.Linear(12, 32), Attention(32, 4), nn.Linear(32, 5)), TOKENS),
    "separate": (lambda: nn.Sequential(nn.Linear(12, 32), Separate(32), nn.Linear(32, 5)), TOKENS),
    "shuffle, BatchNorm": (lambda: Shuffled(nn.BatchNorm1d), (12,)),
    "shuffle, LayerNorm": (lambda: Shuffled(nn.LayerNorm), (12,)),
    "GroupNorm": (Residual, PICTURE),
    "ConvNeXt": (ConvNext, PICTURE),
    "U-Net": (UNet, PICTURE),
    "grouped": (lambda: _convolutions(nn.Conv2d(32, 32, 3, padding=1, groups=4)), PICTURE),
    "depthwise": (lambda: _convolutions(nn.Conv2d(32, 32, 3, padding=1, groups=32)), PICTURE),
    "transposed": (lambda: _convolutions(nn.ConvTranspose2d(32, 32, 2, 2)), PICTURE),
    "transposed, depthwise": (lambda: _convolutions(nn.ConvTranspose2d(32, 32, 2, 2, groups=32)), PICTURE),
    "GRU": (Recurrent, (*TOKENS[:1], 8)),
    "Siamese": (Siamese, PICTURE),
    "float in forward": (Careful, PICTURE),
    "weight norm": (
        lambda: _convolutions(nn.utils.parametrizations.weight_norm(nn.Conv2d(32, 32, 3, padding=1))),
        PICTURE,
    ),
}


def made(name: str) -> tuple[nn.Module, Tensor]:
    """The network of that name with random weights, and an example."""
    make, shape = ARCHITECTURES[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, example = make(), torch.rand(2, *shape)
        network.eval()(example)
        for tensor in [*network.parameters(), *network.buffers()]:
            if tensor.is_floating_point() and tensor.ndim == 1:
                tensor.data.uniform_(0.5, 1.5)
    return network, example
