"""Proxies that look at how differently a network sees images: ``naswot`` and ``jacob_cov``.

Both are Mellor et al.'s: "Neural Architecture Search without Training" as published (ICML 2021), and its
first version (arXiv 2006.04647v1), which Abdelfattah et al. (ICLR 2021) call jacob_cov.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from nas.proxies.proxy import PROXIES, Loss, scratch

_ACTIVATIONS = {"relu", "leaky_relu", "hardtanh", "hardswish", "elu", "gelu", "silu", "mish"}
_LEAST = 1e-5  # added to eigenvalues before their logarithm


@PROXIES.register("naswot")
def naswot(network: nn.Module, images: Tensor, labels: Tensor, loss: Loss, seed: int) -> float:  # noqa: ARG001
    """The log-determinant of how alike images are in which activations they switch on.

    Mellor et al. (ICML 2021), section 3: every image has a binary code, whether each unit's input is above 0;
    the entry of two images in the matrix is the number of units less the Hamming distance of their codes.
    Units of GELU, SiLU and the like count as those of ReLU, functions as modules.

    Args:
        network: network as initialised; left as it is.
        images: one batch, (N, C, H, W).
        labels: not looked at.
        loss: not looked at.
        seed: seed of what is random in a pass.

    Returns:
        The log-determinant; minus infinity where two images are never told apart.

    Raises:
        ValueError: a network without activations.
    """
    codes = _Codes(len(images))
    with scratch(network, images, seed) as own, torch.no_grad(), codes:
        own(images)
    if not codes.units:
        raise ValueError(
            f"naswot looks at activations, and {type(network).__name__} has none that it knows "
            f"({', '.join(sorted(_ACTIVATIONS))}); take another proxy"
        )
    return float(np.linalg.slogdet(codes.kernel)[1])


class _Codes(TorchDispatchMode):
    """Sums, over the activations that run inside, in how many units each two images are alike.

    Args:
        n: number of images; activations of other batches are not looked at.
    """

    def __init__(self, n: int) -> None:
        super().__init__()
        self.kernel = np.zeros((n, n))
        self.units = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = func.overloadpacket.__name__.rstrip("_")  # that in place is the same
        if name in _ACTIVATIONS and args[0].shape[:1] == (len(self.kernel),):
            on = (args[0].flatten(1) > 0).float()
            off = 1 - on
            self.kernel += (on @ on.T + off @ off.T).double().cpu().numpy()
            self.units += on.shape[1]
        return func(*args, **(kwargs or {}))


@PROXIES.register("jacob_cov")
def jacob_cov(network: nn.Module, images: Tensor, labels: Tensor, loss: Loss, seed: int) -> float:  # noqa: ARG001
    """How little the images' input gradients are correlated: -sum(log(v + k) + 1 / (v + k)), k = 1e-5.

    v are the eigenvalues of the matrix of correlations between the gradients of the sum of outputs with
    respect to each image (arXiv 2006.04647v1).

    Args:
        network: network as initialised; left as it is.
        images: one batch, (N, C, H, W).
        labels: not looked at.
        loss: not looked at.
        seed: seed of what is random in a pass.

    Returns:
        The score; NaN where an image has the same gradient everywhere, and so no correlation.
    """
    with scratch(network, images, seed) as own:
        given = images.clone().requires_grad_()
        (jacobian,) = torch.autograd.grad(own(given).sum(), given)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.corrcoef(jacobian.flatten(1).double().cpu().numpy())
    if not np.isfinite(correlation).all():
        return float("nan")
    values = np.linalg.eigvalsh(correlation) + _LEAST
    return float(-np.sum(np.log(values) + 1 / values))
