"""Muon: steps of matrices are made orthogonal; everything else takes AdamW's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_MOMENTUM = 0.95
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_LEAST_NORM = 1e-7
_ADAM_RMS = 0.2  # root mean square of AdamW's steps over its learning rate, as measured in the paper


class Muon(torch.optim.AdamW):
    """Muon for the kernels of dense and grouped convolutions and for inner linear layers, AdamW for the rest.

    "Muon: An optimizer for hidden layers in neural networks" (Jordan et al., 2024): Nesterov momentum, whose
    matrix (outputs, inputs times kernel) is replaced by the nearest one with equal singular values, found by
    five Newton-Schulz iterations. Steps are scaled as in "Muon is Scalable for LLM Training" (Liu et al.,
    2025, section 2.2), so that learning rate and weight decay are AdamW's. Depthwise kernels are no matrices;
    the classifier, which is the last matrix, is AdamW's as in the source. (``torch.optim.Muon`` takes
    parameters of two dimensions alone, so no kernels.)

    Args:
        groups: parameters in groups, as for ``torch.optim.AdamW``.
        classifier: the last matrix of the network; None where there is none.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, classifier: nn.Parameter | None) -> None:
        split = []
        for group in groups:
            matrices = [one for one in group["params"] if is_matrix(one) and one is not classifier]
            known = {id(one) for one in matrices}
            others = [one for one in group["params"] if id(one) not in known]
            for params, orthogonal in ((matrices, True), (others, False)):
                if params:
                    split.append({**group, "params": params, "orthogonal": orthogonal})
        super().__init__(split, fused=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of all parameters that have a gradient."""
        every = self.param_groups
        self.param_groups = [group for group in every if not group["orthogonal"]]
        try:
            loss = super().step(closure) if self.param_groups else None
        finally:
            self.param_groups = every
        for group in every:
            if group["orthogonal"]:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._orthogonal_step(parameter, group["lr"], group["weight_decay"])
        return loss

    def _orthogonal_step(self, parameter: Tensor, rate: float, decay: float) -> None:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"].lerp_(gradient, 1 - _MOMENTUM)
        ahead = gradient.lerp(momentum, _MOMENTUM).flatten(1)
        wanted = orthogonalized(ahead)
        scale = _ADAM_RMS * max(ahead.shape) ** 0.5
        parameter.mul_(1 - rate * decay).add_(wanted.reshape(parameter.shape), alpha=-rate * scale)


def orthogonalized(matrix: Tensor) -> Tensor:
    """A matrix (m, n) with the singular vectors of the given one, and most singular values in 0.7 to 1.2.

    Exact ones are not needed, and the coefficients are those that bring small values up fastest. All
    iterations are polynomials of the Gram matrix, so they run on that: kernels are many times as wide as
    high.
    """
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if tall else matrix
    wide = wide / (wide.norm() + _LEAST_NORM)
    gram = wide @ wide.T
    whole = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    for _ in range(_ITERATIONS):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal().add_(a)
        whole = factor @ whole
        gram = factor @ gram @ factor
    wide = whole @ wide
    return wide.T if tall else wide


def is_matrix(parameter: Tensor) -> bool:
    """Whether it maps several inputs to several outputs: no depthwise kernel, no bias, no scale."""
    return parameter.ndim >= 2 and parameter.shape[0] > 1 and parameter.shape[1] > 1


def last_matrix(parameters: Sequence[nn.Parameter]) -> nn.Parameter | None:
    """The classifier: the last of the parameters that has two dimensions, neither of one."""
    found = [one for one in parameters if one.ndim == 2 and is_matrix(one)]
    return found[-1] if found else None
