"""Means of a network's weights before and after a training."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import nn

from compress.plain import faithful_copy


@torch.no_grad()
def mean_of_weights(before: nn.Module, after: nn.Module, share: float) -> nn.Module:
    """A network between two of one kind: ``share`` of the trained one, the rest of that before.

    "Robust Fine-Tuning of Zero-Shot Models" (Wortsman et al., CVPR 2022), section 3: a straight line between
    the two. Statistics of norms lie on it too; whole numbers are those of the trained network.

    Args:
        before: Network that training began with.
        after: The same, trained.
        share: Share of the trained weights, in [0, 1].
    """
    found = faithful_copy(after)
    old = before.state_dict()
    for name, tensor in found.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(old[name].to(tensor).lerp(tensor, share))
    return found.eval()


def share_by_entropy(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Share of the trained weights by how sure both networks are: H(before) / (H(before) + H(after)).

    "DaWin: Training-free Dynamic Weight Interpolation for Robust Adaptation" (Oh et al., ICLR 2025), equation
    5, its mean over the images: one network comes of it, and no other one for each image.

    Args:
        before: Logits (N, classes) of the network that training began with; (N, 1) are those of the second of
            two classes.
        after: Logits of the trained one, for the same images.
    """
    old, new = _entropies(before), _entropies(after)
    return float((old / np.maximum(old + new, 1e-12)).mean())


def _entropies(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    if logits.shape[1] == 1:  # of which the softmax is 1, whatever it is
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    logarithms = log_softmax(logits.astype(np.float64), axis=1)
    return np.asarray(-(np.exp(logarithms) * logarithms).sum(axis=1))
