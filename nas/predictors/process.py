"""A Gaussian process over archs, with one relevance a choice.

The kernel is the exponentiated Hamming distance of "Bayesian Optimisation over Multiple Continuous and
Categorical Inputs" (Ru et al., 2020) with a relevance for each choice, as automatic relevance
determination does for numbers, plus an additive part with the same relevances. Different here: numbers
also count by how far apart they are, costs are inputs beside the choices, and the relevances have a prior,
so that ten archs are enough to begin with.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.predictors.encoding import Features
from nas.predictors.predictor import Targets

Matrix = NDArray[np.float64]
LEARN_FROM = 250
"""Relevances are learnt from at most this many archs, the best and some others; more changes little."""


class Process:
    """A Gaussian process whose relevances are learnt by their posterior mode.

    Standard errors are widened where the archs it was fitted to, each left out once, turn out to be further
    off than it believes.

    Args:
        blocks: block of each feature, (n features,), as ``Encoding.blocks``.
        relearn: growth of the number of archs, as a factor, after which relevances are learnt anew; 0 learns
            them at every fit.

    Attributes:
        left_out: prediction of each fitted arch without itself, (n,).
        relearnt: whether the last fit learnt relevances anew.
    """

    def __init__(self, blocks: NDArray[np.int64], *, relearn: float = 0.0) -> None:
        self._blocks = blocks
        self._relearn = relearn
        n = int(blocks.max()) + 1
        # Relevances; sizes of the interacting and of the additive part; noise. All as logarithms.
        self._prior = np.r_[np.full(n, np.log(1.5 / n)), 0.0, np.log(0.5), np.log(0.02)]
        self._spread = np.r_[np.full(n, 1.2), 1.0, 1.5, 1.5]
        self._learnt = self._prior.copy()
        self._learnt_from = 0

    def fit(self, features: Features, targets: Targets) -> None:
        self.relearnt = len(targets) >= max(5, self._learnt_from * self._relearn)
        if self.relearnt:
            self._learnt = self._learn(features, targets)
            self._learnt_from = len(targets)
        self.condition(features, targets)

    def condition(self, features: Features, targets: Targets) -> None:
        """Conditions on scored archs, (n, n features) and (n,), without learning relevances anew."""
        self._mean, self._unit = _scale(targets)
        self._inputs = self._weigh(features)
        covariance = self._kernel(self._inputs, self._inputs)
        covariance[np.diag_indices_from(covariance)] += np.exp(self._learnt[-1]) + 1e-8
        self._inverse = _triangular_inverse(np.linalg.cholesky(covariance))
        standard = (targets - self._mean) / self._unit
        self._dual = self._inverse.T @ (self._inverse @ standard)
        inverse_diagonal = (self._inverse**2).sum(axis=0)
        # What each arch would have been predicted as without it, and how many standard errors that is off.
        self.left_out = targets - self._unit * self._dual / inverse_diagonal
        off = self._dual / np.sqrt(inverse_diagonal)
        self._calibration = float(np.clip(np.sqrt(np.mean(off**2)), 1.0, 3.0))

    def mean(self, features: Features) -> Targets:
        return self._mean + self._unit * (self._kernel(self._weigh(features), self._inputs) @ self._dual)

    def predict(self, features: Features) -> tuple[Targets, Targets]:
        inputs = self._weigh(features)
        cross = self._kernel(inputs, self._inputs)  # (n, n fitted)
        explained = ((cross @ self._inverse.T) ** 2).sum(axis=1)
        variance = np.exp(self._learnt[-3]) + np.exp(self._learnt[-2]) * (inputs**2).sum(axis=1) - explained
        # What is peculiar to one arch counts as error too: it is part of the score that an evaluation gives.
        error = np.sqrt(np.maximum(variance, 1e-8) + np.exp(self._learnt[-1])) * self._calibration
        return self._mean + self._unit * (cross @ self._dual), self._unit * error

    def _weigh(self, features: Features) -> Features:
        return features * np.exp(0.5 * self._learnt[:-3])[self._blocks]

    def _kernel(self, first: Features, second: Features) -> Matrix:
        product = first @ second.T
        squared = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None, :] - 2 * product
        return np.exp(self._learnt[-3] - np.maximum(squared, 0.0)) + np.exp(self._learnt[-2]) * product

    def _learn(self, features: Features, targets: Targets) -> NDArray[np.float64]:
        """The most likely relevances given the archs and the prior, by L-BFGS from the last ones."""
        from scipy.optimize import minimize

        if len(targets) > LEARN_FROM:
            order = np.argsort(targets, kind="stable")
            best = order[-LEARN_FROM // 3 :]
            others = order[: -LEARN_FROM // 3]
            kept = np.r_[others[:: -(-len(others) // (LEARN_FROM - len(best)))], best]
            features, targets = features[kept], targets[kept]
        mean, unit = _scale(targets)
        standard = (targets - mean) / unit
        products = _block_products(features, self._blocks, len(self._prior) - 3)
        found = minimize(
            _misfit,
            self._learnt,
            args=(products, standard, self._prior, self._spread),
            jac=True,
            method="L-BFGS-B",
            bounds=[(p - 6.0, p + 6.0) for p in self._prior],
            options={"maxiter": 25 if self._learnt_from else 50},
        )
        return np.asarray(found.x)


def _triangular_inverse(factor: NDArray[np.floating]) -> Matrix:
    from scipy.linalg.lapack import dtrtri

    return np.asarray(dtrtri(factor, lower=1)[0])


def _scale(targets: Targets) -> tuple[float, float]:
    return float(targets.mean()), float(targets.std()) or 1.0


def _block_products(features: Features, blocks: NDArray[np.int64], n: int) -> Matrix:
    """Inner products of the archs within each block, (n blocks, archs, archs)."""
    return np.stack([features[:, blocks == block] @ features[:, blocks == block].T for block in range(n)])


def _misfit(
    logs: NDArray[np.float64], products: Matrix, standard: Targets, prior: Matrix, spread: Matrix
) -> tuple[float, NDArray[np.float64]]:
    """Negative log posterior of the logarithms, and its gradient."""
    relevance, (local, additive, noise) = np.exp(logs[:-3]), np.exp(logs[-3:])
    product = np.tensordot(relevance, products, axes=1)
    diagonal = np.diag(product)
    near = local * np.exp(np.minimum(2 * product - diagonal[:, None] - diagonal[None, :], 0.0))
    covariance = near + additive * product
    covariance[np.diag_indices_from(covariance)] += noise + 1e-8
    try:
        factor = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return 1e10, np.zeros_like(logs)
    inverse_factor = _triangular_inverse(factor)
    inverse = inverse_factor.T @ inverse_factor
    dual = inverse @ standard
    slope = 0.5 * (inverse - np.outer(dual, dual))  # of the misfit in the covariance
    # Through the distance: d(near) = near * (2 * product - two diagonals); through the additive part:
    # product.
    through = slope * near
    weights = 2 * through + additive * slope
    weights[np.diag_indices_from(weights)] -= 2 * through.sum(axis=1)
    gradient = np.empty_like(logs)
    gradient[:-3] = relevance * (products.reshape(len(relevance), -1) @ weights.ravel())
    gradient[-3:] = through.sum(), additive * (slope * product).sum(), noise * np.trace(slope)
    away = (logs - prior) / spread
    value = 0.5 * standard @ dual + np.log(np.diag(factor)).sum() + 0.5 * (away**2).sum()
    return float(value), gradient + away / spread
