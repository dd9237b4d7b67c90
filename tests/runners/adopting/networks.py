"""Finished networks as users bring them, none of which takes its sizes as an argument of a space."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Packed(nn.Module):
    """Attention whose queries, keys and values are one layer.

    Args:
        free: whether the width inside may differ from that outside: nothing in ``forward`` says otherwise.
    """

    def __init__(self, width: int, heads: int, *, free: bool) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.free = heads, width // heads, free
        self.scale = self.head_dim**-0.5
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        size = self.head_dim if self.free else width // self.num_heads
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, size).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = (((q * self.scale) @ k.transpose(-2, -1)).softmax(-1) @ v).transpose(1, 2)
        return self.proj(mixed.flatten(2) if self.free else mixed.reshape(batch, tokens, width))


class Encoder(nn.Module):
    def __init__(self, width: int, heads: int, *, free: bool) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width), Packed(width, heads, free=free)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.scale = nn.Parameter(torch.rand(width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.scale * self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """A vision transformer: patches, a class token, positions, packed projections."""

    def __init__(self, *, free: bool, width: int = 24, heads: int = 3, depth: int = 2) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, 5, width))
        self.blocks = nn.ModuleList(Encoder(width, heads, free=free) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class HubAttention(nn.Module):
    """Attention as transformers writes it: a layer each, and its sizes as numbers."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_attention_heads, self.attention_head_size = heads, width // heads
        self.all_head_size = width
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        shape = (*x.shape[:2], self.num_attention_heads, self.attention_head_size)
        q, k, v = (layer(x).view(shape).transpose(1, 2) for layer in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).contiguous()
        return mixed.view(*x.shape[:2], self.all_head_size), None


class HubLayer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention, self.output = HubAttention(width, heads), nn.Linear(width, width)
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = x + self.output(self.attention(self.before(x))[0])
        return (x + self.down(F.gelu(self.up(self.after(x)))),)


class HubClassifier(nn.Module):
    """A classifier as transformers writes them: blocks give tuples, the network something with ``logits``."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(hidden_size=16, num_attention_heads=4)
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.layer = nn.ModuleList(HubLayer(16, 4) for _ in range(3))
        self.norm, self.classifier = nn.LayerNorm(16), nn.Linear(16, 5)

    def forward(self, pixels: Tensor) -> SimpleNamespace:
        x = self.patches(pixels).flatten(2).transpose(1, 2)
        for layer in self.layer:
            x = layer(x)[0]
        return SimpleNamespace(logits=self.classifier(self.norm(x).mean(1)))


class Torch(nn.Module):
    """PyTorch's own encoder."""

    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.embed = nn.Conv2d(3, 16, 4, 4)
        layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=batch_first)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2)  # (B, C, N)
        x = x.transpose(1, 2) if self.batch_first else x.permute(2, 0, 1)
        return self.head(self.encoder(x).mean(1 if self.batch_first else 0))


class Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(width, width // 4, 1), nn.Conv2d(width // 4, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.up(torch.relu(self.down(x.mean((2, 3), keepdim=True)))))


class Inverted(nn.Module):
    """MobileNet's block, its expansion 4."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, *, gate: bool) -> None:
        super().__init__()
        inside = 4 * inputs
        depthwise = nn.Conv2d(inside, inside, kernel, stride, kernel // 2, groups=inside, bias=False)
        self.body = nn.Sequential(
            nn.Conv2d(inputs, inside, 1, bias=False),
            nn.BatchNorm2d(inside),
            nn.Hardswish(),
            depthwise,
            nn.BatchNorm2d(inside),
            Gate(inside) if gate else nn.Identity(),
            nn.Conv2d(inside, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.skip else self.body(x)


def mobile() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 1, 1),
        Inverted(8, 12, 5, 2, gate=False),
        Inverted(12, 12, 7, 1, gate=True),
        Inverted(12, 12, 7, 1, gate=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 5),
    )


class Grouped(nn.Module):
    """A residual block whose norms have 4 groups and whose second convolution has 4."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.one, self.norm1 = nn.Conv2d(inputs, outputs, 3, stride, 1), nn.GroupNorm(4, outputs)
        self.two, self.norm2 = nn.Conv2d(outputs, outputs, 3, 1, 1, groups=4), nn.GroupNorm(4, outputs)
        self.down = nn.Conv2d(inputs, outputs, 1, stride) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.two(torch.relu(self.norm1(self.one(x)))))
        return torch.relu(self.down(x) + y)


def grouped() -> nn.Module:
    blocks = [Grouped(8, 8, 1), Grouped(8, 8, 1), Grouped(8, 16, 2), Grouped(16, 16, 1)]
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 1, 1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)
    )


class Concatenated(nn.Module):
    """A norm and a convolution over what two others give, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 6, 3, padding=1)
        self.norm, self.c, self.head = nn.BatchNorm2d(14), nn.Conv2d(14, 8, 1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.a(x))
        x = self.norm(torch.cat([x, torch.relu(self.b(x))], dim=1))
        return self.head(torch.relu(self.c(x)).mean((2, 3)))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "ViT": lambda: ViT(free=False),
    "ViT, heads free": lambda: ViT(free=True),
    "of a hub": HubClassifier,
    "TransformerEncoder": lambda: Torch(batch_first=True),
    "TransformerEncoder, batch second": lambda: Torch(batch_first=False),
    "MobileNet": mobile,
    "groups": grouped,
    "concatenation": Concatenated,
}


def made(name: str) -> tuple[nn.Module, Tensor]:
    """The network of that name in evaluation mode with random weights and statistics, and an example."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, example = NETWORKS[name]().eval(), torch.randn(2, 3, 8, 8)
        for tensor in [*network.parameters(), *network.buffers()]:
            if tensor.is_floating_point() and tensor.ndim == 1:
                tensor.data.uniform_(0.5, 1.5)
    return network, example


def logits(network: nn.Module, images: Tensor) -> Tensor:
    """What a network gives, as a tensor."""
    with torch.no_grad():
        output = network(images)
    return output if isinstance(output, Tensor) else output.logits
