"""How an answer is read off the outputs of a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.records.codec import Record

_NEAR = 0.01  # of a value's deviation: predictions that close are the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Record):
    """What outputs mean.

    Attributes:
        kind: ``class`` (an output for each class; the largest is the answer), ``binary`` (one output; the
            second of two classes where it is above 0), ``labels`` (an output for each label, which is there
            where it is above 0) or ``values`` (output * scale + offset).
        offset: offset of each value; empty where the answer is none.
        scale: scale of each value.
    """

    kind: str = "class"
    offset: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    @property
    def named(self) -> str:
        """What the names are of: classes, labels or values."""
        return self.kind if self.kind in ("labels", "values") else "classes"

    @property
    def digits(self) -> tuple[int, ...]:
        """Significant digits of each value: 4, or as many as show a hundredth of its scale."""
        return tuple(
            max(4, 3 + math.ceil(math.log10(abs(offset) / scale + 1)))
            for offset, scale in zip(self.offset, self.scale, strict=True)
        )

    def same(self, expected: NDArray[Any], got: NDArray[Any]) -> float:
        """How many images have the same answer in both outputs; of an image with many, their share counts.

        Values are the same within a hundredth of their scale.

        Args:
            expected: outputs, (N, outputs, ...) or (N,).
            got: other outputs of the same shape.
        """
        if self.kind == "values":
            same = np.abs(expected - got) <= _NEAR
        elif self.kind == "class" and expected.ndim > 1 and expected.shape[1] > 1:
            same = expected.argmax(axis=1) == got.argmax(axis=1)
        else:
            same = (expected > 0) == (got > 0)
        return float(same.reshape(len(same), -1).mean(axis=1).sum())

    def words(self, outputs: NDArray[Any], names: Sequence[str], most: int = 5) -> str:
        """The answer for one image: the likeliest classes or labels with their probabilities, or values.

        Args:
            outputs: outputs for it, (outputs,).
            names: names of classes, labels or values.
            most: classes or labels to name.
        """
        if self.kind == "values":
            values = outputs * np.array(self.scale) + np.array(self.offset)
            told = zip(names, values, self.digits, strict=True)
            return ", ".join(f"{name} {value:.{digits}g}" for name, value, digits in told)
        shares = self.probabilities(outputs)
        best = np.argsort(-shares, kind="stable")[:most]
        return ", ".join(f"{names[place]} {shares[place]:.1%}" for place in best)

    def probabilities(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Probabilities of classes or labels along the last axis: softmax of the outputs, or sigmoids."""
        if self.kind == "class":
            powers = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
            found: NDArray[Any] = powers / powers.sum(axis=-1, keepdims=True)
            return found
        shares = (1 + np.tanh(outputs / 2)) / 2  # the sigmoid, without an overflow
        return np.concatenate([1 - shares, shares], axis=-1) if self.kind == "binary" else shares


ONE_CLASS = Answer()
"""The answer of a classifier: the class of the largest output."""
