"""Blocks whose layers depend on the image, written from their formulas."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import conv2d

Weights = Mapping[str, Tensor]


def normed(y: Tensor, weights: Weights, name: str) -> Tensor:
    own = {key.removeprefix(f"{name}."): one for key, one in weights.items() if key.startswith(f"{name}.")}
    scale = own["weight"] / torch.sqrt(own["running_var"] + 1e-5)
    return (y - own["running_mean"].view(-1, 1, 1)) * scale.view(-1, 1, 1) + own["bias"].view(-1, 1, 1)


def convolution(x: Tensor, weights: Weights, name: str, stride: int = 1, depthwise: bool = False) -> Tensor:
    """A plain convolution, or image by image with the mixture that its means choose; then the norm."""
    groups = x.shape[1] if depthwise else 1
    if f"{name}.conv.weight" in weights:
        kernel = weights[f"{name}.conv.weight"]
        y = conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2, groups=groups)
        return normed(y, weights, f"{name}.norm")
    name = f"{name}_experts"
    experts = weights[f"{name}.conv.weight"]
    images = []
    for image in x:
        logits = weights[f"{name}.conv.route.weight"][:, :, 0, 0] @ image.mean(dim=(1, 2))
        shares = 1 / (1 + torch.exp(-logits - weights[f"{name}.conv.route.bias"]))
        kernel = sum(share * one for share, one in zip(shares, experts, strict=True))
        images.append(
            conv2d(image[None], kernel, stride=stride, padding=kernel.shape[-1] // 2, groups=groups)
        )
    return normed(torch.cat(images), weights, f"{name}.norm")


def mbconv_experts(x: Tensor, weights: Weights, stride: int) -> Tensor:
    y = x
    if any(key.startswith("inner.expand") for key in weights):
        y = convolution(y, weights, "inner.expand").clamp(min=0)
    y = convolution(y, weights, "inner.depthwise", stride, depthwise=True).clamp(min=0)
    y = convolution(y, weights, "inner.project")
    return x + y if x.shape == y.shape else y


def pick_or_mix(x: Tensor, weights: Weights, stride: int) -> Tensor:
    if "inner.pix.weigh.weight" in weights:
        rows = []
        for image in x:
            logits = weights["inner.pix.weigh.weight"][:, :, 0, 0] @ image.mean(dim=(1, 2))
            for index, logit in enumerate(logits + weights["inner.pix.weigh.bias"]):
                share, own = 1 / (1 + torch.exp(-logit)), image[4 * index : 4 * index + 4]
                rows.append(share * (own.max(dim=0).values if share < 0.5 else own.mean(dim=0)))
        y = torch.stack(rows).reshape(len(x), -1, *x.shape[2:])
    else:
        y = convolution(x, weights, "inner.conv").clamp(min=0)
    y = convolution(y, weights, "inner.spatial").clamp(min=0)
    return (x + convolution(y, weights, "inner.expand")).clamp(min=0)


DYNAMIC = {"mbconv_experts": mbconv_experts, "pick_or_mix": pick_or_mix}
