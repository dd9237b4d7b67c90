"""Whether a file is the network it was exported from: both run on the same random inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compress.onnx.file import OnnxFile

BATCHES = (3, 1, 8)
"""Images run at a time: not the two that are exported with, so that a batch held as a constant shows.

One is what is deployed, and what conditions on the batch ask for (``if x.shape[0] == 1``); eight is large.
"""
TOLERANCE = 1e-4
"""Largest difference of an output that counts as rounding, as a share of the largest output.

48 random networks of four presets, with BatchNorm statistics over two orders of magnitude, came to 3e-6.
"""

_VISIBLE_STEPS = 4  # of 8 bits over the outputs' range


def sample(network: nn.Module, example: Tensor | Sequence[int]) -> tuple[Tensor, list[Tensor]]:
    """Seeded random inputs (8, ...) on which a network can be compared with its file, and what it gives.

    The outputs are those of the first 3, 1 and 8 inputs, each number in a call of its own.

    A shape alone gives normal numbers; an example gives values of its own in another order, so that indices
    stay indices. Where the network's outputs are not finite on normal numbers, as of a logarithm, the inputs
    are uniform in [0, 1).

    Raises:
        ValueError: the network does not run on a batch of them, or does not give one tensor.
    """
    if not isinstance(example, Tensor) and not all(isinstance(size, int) for size in example):
        raise ValueError(
            f"{type(network).__name__} cannot be exported: only networks that take one tensor can, and its "
            f"example has to be one, or a shape; got a {type(example).__name__}"
        )
    generator = torch.Generator().manual_seed(0)
    shape = example.shape[1:] if isinstance(example, Tensor) else tuple(example)
    if isinstance(example, Tensor):
        values = example.detach().cpu().flatten()
        values = values.float() if values.is_floating_point() else values
        chosen = torch.randint(len(values), (max(BATCHES), *shape), generator=generator)
        if not values.is_floating_point() or values.min() < values.max():
            return values[chosen], _outputs(network, values[chosen])
    inputs = torch.randn(max(BATCHES), *shape, generator=generator)
    outputs = _outputs(network, inputs)
    if not all(one.isfinite().all() for one in outputs):
        inputs = torch.rand(max(BATCHES), *shape, generator=generator)
        outputs = _outputs(network, inputs)
    return inputs, outputs


def _outputs(network: nn.Module, inputs: Tensor) -> list[Tensor]:
    return [_output(network, inputs[:count]) for count in BATCHES]


def _output(network: nn.Module, inputs: Tensor) -> Tensor:
    kind = type(network).__name__
    try:
        with torch.no_grad():
            outputs = network(inputs.clone())
    except Exception as error:  # whatever the user's forward raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{kind} does not run on inputs of {tuple(inputs.shape)}: {reason}") from error
    if not isinstance(outputs, Tensor):
        raise ValueError(
            f"{kind} gives a {type(outputs).__name__}; only networks that give one tensor can be exported"
        )
    return outputs


def refuse_another(file: bytes, inputs: Tensor, expected: Sequence[Tensor]) -> None:
    """Refuses a file whose outputs, at any of ``BATCHES``, are not those of its network.

    Args:
        file: content of the ONNX file.
        inputs: inputs of ``sample``.
        expected: outputs of ``sample``.

    Raises:
        ValueError: the file does not run on a batch, or an output differs by more than the tolerance.
    """
    run = OnnxFile(file)
    for count, right in zip(BATCHES, expected, strict=True):
        try:
            got: NDArray[Any] = run(inputs[:count].numpy())
        except Exception as error:  # the runtime's exception classes share no base but Exception
            reason = str(error).strip().splitlines()[0]
            raise ValueError(f"the file does not run on a batch of {count}: {reason}") from error
        refuse_difference(got, right.numpy(), count)


def refuse_difference(
    got: NDArray[Any], right: NDArray[Any], batch: int, tolerance: float = TOLERANCE
) -> None:
    """Refuses outputs of a file, (batch, ...), that are not those of its network.

    Args:
        got: outputs of the file.
        right: outputs of the network.
        batch: images in the call.
        tolerance: largest difference to accept, as a share of the largest output.

    Raises:
        ValueError: another shape, other places that are not finite, or a difference beyond the tolerance.
    """
    if got.shape != right.shape:
        raise ValueError(
            f"the file gives outputs of {got.shape}, the network of {right.shape}; an int(), a len(), a loop "
            "or a condition over the batch in forward makes it a constant"
        )
    finite = np.isfinite(right)
    if not finite.any() or (finite != np.isfinite(got)).any():
        count = int((finite != np.isfinite(got)).sum())
        raise ValueError(
            f"{count} of the {right.size} outputs are finite in the file alone or in the network alone"
            if count
            else "the network's outputs are not finite, so its file cannot be compared with it"
        )
    largest = float(np.abs(right[finite]).max())
    difference = float(np.abs(right[finite].astype(np.float64) - got[finite]).max())
    if difference > tolerance * max(largest, 1e-12):
        raise ValueError(
            f"the file is not the network: an output differs by {difference:.3g} where the largest is "
            f"{largest:.3g} (accepted: {tolerance:g} of it), at a batch of {batch}{_what_it_may_be(batch)}"
        )


def refuse_constant(got: NDArray[Any], right: NDArray[Any]) -> None:
    """Refuses outputs of an int8 file that are all the same, or the same for all inputs, and float ones not.

    Float outputs that differ by no more than a few of their own 8-bit steps count as the same: those of a
    network that was cut and is not trained yet may, and its int8 file is timed all the same.

    Args:
        got: outputs of the int8 file, (N, ...).
        right: outputs of the float file for the same inputs.

    Raises:
        ValueError: they are constant.
    """
    if not got.size or got.shape != right.shape:
        return
    visible = _VISIBLE_STEPS * float(max(right.max(), 0) - min(right.min(), 0)) / 255
    seen = f"{len(got)} images" if len(got) > 1 else "an image"
    if np.ptp(got) == 0 and np.ptp(right) > visible:
        raise ValueError(
            f"all outputs of the int8 file are {float(got.flat[0]):.3g} on {seen}, where those of the "
            "float file differ"
        )
    if len(got) > 1 and not np.ptp(got, axis=0).any() and np.ptp(right, axis=0).max() > visible:
        raise ValueError(
            f"the int8 file gives the same outputs for each of {seen}, where those of the float file differ"
        )


def _what_it_may_be(batch: int) -> str:
    """The likely reason where an earlier batch agreed."""
    if batch == BATCHES[0]:
        return ""
    return (
        f" and not at {BATCHES[0]}: a condition on the batch's size in forward becomes a constant in the file"
    )
