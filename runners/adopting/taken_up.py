"""A finished network as it is taken apart: a copy that gives a tensor, and the example it runs on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compress.plain import plain_copy
from compress.pruning.groups import in_words
from nas.from_network.attention import open_attention


def example_of(input_shape: tuple[int, ...]) -> Tensor:
    """Two images of random numbers, (2, C, H, W)."""
    return torch.randn(2, *input_shape, generator=torch.Generator().manual_seed(0))


class TensorOutput(nn.Module):
    """A network that gives a structure with ``logits``, as those of transformers do, giving these alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        logits: Tensor = self.network(x).logits
        return logits


INSIDE = "network."
"""Prefix of names in a network that is wrapped as ``TensorOutput``."""


def taken_up(network: nn.Module, example: Tensor) -> nn.Module:
    """A copy that can be taken apart: of ordinary weights, attention opened, giving a tensor.

    Args:
        network: finished network.
        example: an input (B, ...).

    Raises:
        ValueError: it does not run on the example, or gives no tensor and no ``logits``.
    """
    whole = open_attention(plain_copy(network))
    training = whole.training
    kind = type(network).__name__
    try:
        with torch.no_grad():
            output = whole.eval()(example)
    except Exception as error:  # whatever the user's forward raises
        raise ValueError(f"{kind} does not run on {tuple(example.shape)} ({in_words(error)})") from error
    whole.train(training)
    if isinstance(output, Tensor):
        return whole
    if isinstance(getattr(output, "logits", None), Tensor):
        return TensorOutput(whole).train(training)
    raise ValueError(
        f"{kind} gives a {type(output).__name__}; it has to give a tensor, or something with a tensor "
        f"called logits"
    )
