"""Tokens that stand for a map: what they gather and what is given back, token by token."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from search_spaces.choice import Value
from tests.search_spaces.mixers.references.basis import Weights, conv_norm, relu, softmax, under
from tests.search_spaces.mixers.references.reduced import to_all


def averages(x: Tensor, side: int) -> Tensor:
    """(B, C, S, 1): averages of regions that share the map, an edge between two in both."""
    (height, width), found = x.shape[2:], []
    down, across = min(side, height), min(side, width)
    for i in range(down):
        rows = slice(math.floor(i * height / down), math.ceil((i + 1) * height / down))
        for j in range(across):
            columns = slice(math.floor(j * width / across), math.ceil((j + 1) * width / across))
            found.append(x[:, :, rows, columns].mean(dim=(2, 3)))
    return torch.stack(found, dim=2).unsqueeze(3)


def heads_between(x: Tensor, source: Tensor, weights: Weights, name: str) -> Tensor:
    own = under(weights, name)
    q, k, v = conv_norm(x, own, "q"), conv_norm(source, own, "k"), conv_norm(source, own, "v")
    return conv_norm(to_all(q, k, v, own), own, "project")


def gathered(x: Tensor, alike: Tensor) -> Tensor:
    """(B, C, S, 1): each token the mean of all positions, by a softmax over them of (B, S, N)."""
    flat = x.flatten(2)
    tokens = [(flat * softmax(alike[:, s])[:, None]).sum(dim=2) for s in range(alike.shape[1])]
    return torch.stack(tokens, dim=2).unsqueeze(3)


def dealt_back(tokens: Tensor, alike: Tensor, shape: torch.Size) -> Tensor:
    """Each position the mean of all tokens, by a softmax over them."""
    found = torch.empty(*shape[:2], alike.shape[2], dtype=tokens.dtype)
    for n in range(alike.shape[2]):
        found[:, :, n] = (tokens[..., 0] * softmax(alike[:, :, n])[:, None]).sum(dim=2)
    return found.reshape(shape)


def glmix(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    first, flat = averages(x, int(values["side"]))[..., 0], x.flatten(2)
    alike = torch.empty(len(x), first.shape[2], flat.shape[2], dtype=x.dtype)
    for s in range(first.shape[2]):
        for n in range(flat.shape[2]):
            one, other = first[:, :, s], flat[:, :, n]
            alike[:, s, n] = (one * other).sum(dim=1) / one.norm(dim=1) / other.norm(dim=1) * weights["scale"]
    slots = gathered(x, alike)
    slots = heads_between(slots, slots, weights, "mix")
    local = conv_norm(conv_norm(x, weights, "local.0"), weights, "local.1", groups=0)
    return dealt_back(slots, alike, x.shape) + conv_norm(local, weights, "local.2")


def semantic_tokens(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    tokens = averages(x, int(values["token_side"]))
    everything = torch.cat([tokens, x.reshape(*x.shape[:2], -1, 1)], dim=2)
    tokens = tokens + heads_between(tokens, everything, weights, "gather")
    tokens = tokens + heads_between(tokens, tokens, weights, "refine")
    return heads_between(x, tokens, weights, "recover")


def slimmed_tokens(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    hidden = relu(conv_norm(x, weights, "expand"))
    shares = conv_norm(hidden, weights, f"score.to_{values['kept']}").flatten(2)
    tokens = gathered(x, shares)
    return dealt_back(heads_between(tokens, tokens, weights, "mix"), shares, x.shape)


def fused_tokens(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    """Image by image: each odd position with the even one that attracts it most, the best of them fused."""
    result = torch.empty_like(x)
    for image in range(len(x)):
        flat = x[image].flatten(1)
        query = conv_norm(x[image : image + 1].mean(dim=(2, 3), keepdim=True), weights, "query").flatten()
        keys = conv_norm(x[image : image + 1], weights, "key")[0].flatten(1)
        logits = query @ keys * weights["scale"]
        told, pairs = softmax(logits[None])[0], []
        for i in range(1, flat.shape[1], 2):
            attractions = []
            for j in range(0, flat.shape[1], 2):
                cosine = flat[:, i] @ flat[:, j] / flat[:, i].norm() / flat[:, j].norm()
                attractions.append((float(torch.log((cosine + 1) / 2) - logits[i] - logits[j]), j))
            pairs.append((*max(attractions), i))
        gone = min(round(flat.shape[1] * (1 - float(values["tokens_kept"]))), flat.shape[1] // 2)
        into = {i: j for _, j, i in sorted(pairs, reverse=True)[:gone]}
        groups = [
            [one, *(i for i, j in into.items() if j == one)]
            for one in range(flat.shape[1])
            if one not in into
        ]
        tokens = [sum(told[i] * flat[:, i] for i in one) / sum(told[i] for i in one) for one in groups]
        tokens = torch.stack(tokens, dim=1)[None, :, :, None]
        mixed = heads_between(tokens, tokens, weights, "mix")[0, :, :, 0]
        for at, one in enumerate(groups):
            result[image].flatten(1)[:, one] = mixed[:, at, None]
    return result


REFERENCES = {
    "fused_tokens": fused_tokens,
    "glmix": glmix,
    "semantic_tokens": semantic_tokens,
    "slimmed_tokens": slimmed_tokens,
}
