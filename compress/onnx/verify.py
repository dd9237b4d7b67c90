"""Runs an exported file in ONNX Runtime on real data and compares it with the network it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from compress.onnx.file import Images, OnnxFile
from results.records import ONE_CLASS, Answer, Record
from results.statistics import top1

Labels = NDArray[Any]
Score = Callable[[NDArray[np.float32], Labels], float]
Run = Callable[[Path, Images], NDArray[Any]]
Data = tuple[NDArray[Any], NDArray[Any]] | Iterable[tuple[Any, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification(Record):
    """How an exported file compares with its PyTorch network on the same images.

    Attributes:
        images: how many were run.
        max_difference: largest absolute difference of a logit.
        mean_difference: mean absolute difference of the logits.
        logit_scale: largest absolute logit of the network, which says how large a difference is.
        equal_predictions: share of predictions that are the same, in [0, 1]; see ``Answer.same``.
        accuracy_network: accuracy of the PyTorch network, in [0, 1].
        accuracy_file: accuracy of the file as run, in [0, 1].
    """

    images: int
    max_difference: float
    mean_difference: float
    logit_scale: float
    equal_predictions: float
    accuracy_network: float
    accuracy_file: float


def accuracy(model: nn.Module | Path, data: Data, *, score: Score = top1, batch_size: int = 256) -> float:
    """Top-1 accuracy in [0, 1] of a network, or of a file as ONNX Runtime runs it.

    Args:
        model: a network (run in eval mode, then put back), or the path of an ONNX file.
        data: ``(images, labels)`` as whole arrays, or an iterable of such batches.
        score: another measure of logits and labels, in [0, 1], in the place of the accuracy.
        batch_size: images at a time, where ``data`` is whole arrays.

    Raises:
        ValueError: there are no images, or the labels are not (N,): one for each.
    """
    run = OnnxFile(model) if isinstance(model, Path) else partial(_network_logits, model)
    found = [(run(images), labels) for images, labels in batches(data, batch_size)]
    if not found:
        raise ValueError("there are no images to measure the accuracy on")
    logits, known = (np.concatenate(part) for part in zip(*found, strict=True))
    return score(logits, known)


def verify(
    path: Path,
    network: nn.Module,
    data: Data,
    *,
    run: Run | None = None,
    score: Score = top1,
    answer: Answer = ONE_CLASS,
    max_difference: float | None = None,
    max_accuracy_loss: float | None = None,
    batch_size: int = 256,
) -> Verification:
    """Runs file and network over a whole data set and compares them.

    Args:
        path: file to run.
        network: what it was exported from.
        data: ``(images, labels)`` as whole arrays, or an iterable of such batches.
        run: outputs of the file for images, as ``Target.run`` gives them; called once where ``data`` is whole
            arrays. None runs an ONNX file in ONNX Runtime.
        score: another measure of logits and labels, in [0, 1], in the place of the accuracy.
        answer: what a prediction is: by default the largest output along axis 1 of (N, classes, ...), or the
            sign of a single one, (N,) or (N, 1, ...).
        max_difference: the largest logit difference to accept, as a share of the largest logit
            (1e-3 suits a float file; an int8 file is judged by its accuracy).
        max_accuracy_loss: how much lower the file's accuracy may be than the network's.
        batch_size: images at a time, where ``data`` is whole arrays.

    Raises:
        ValueError: there are no images, labels that are not (N,), logits that are not finite, or the file is
            beyond a tolerance; the message says by how much.
    """
    total = values = 0
    equal = largest = summed = scale = 0.0
    found: list[tuple[NDArray[np.float32], NDArray[np.float32], Labels]] = []
    for images, labels, got in _run_on(path, data, batch_size, run):
        expected = _network_logits(network, images)
        if not np.isfinite(got).all():
            raise ValueError(
                f"{path} gives logits that are not finite on images {total} to {total + len(labels)}"
            )
        difference = np.abs(expected - got)
        largest, summed = max(largest, float(difference.max())), summed + float(difference.sum())
        scale = max(scale, float(np.abs(expected).max()))
        values += difference.size
        equal += answer.same(expected, got)
        total += len(labels)
        found.append((expected, got, labels))
    if total == 0:
        raise ValueError(f"there are no images to verify {path} on")
    outputs, outputs_file, known = (np.concatenate(part) for part in zip(*found, strict=True))
    record = Verification(
        images=total,
        max_difference=largest,
        mean_difference=summed / values,
        logit_scale=scale,
        equal_predictions=equal / total,
        accuracy_network=score(outputs, known),
        accuracy_file=score(outputs_file, known),
    )
    _judge(path, record, max_difference, max_accuracy_loss)
    return record


def _run_on(
    path: Path, data: Data, batch_size: int, run: Run | None
) -> Iterator[tuple[Images, Labels, NDArray[Any]]]:
    """Images, labels and the file's outputs, a batch at a time."""
    file = OnnxFile(path) if run is None else None
    # Loading a file may take seconds, so whole arrays are run at once.
    whole = run(path, data[0]) if run is not None and isinstance(data, tuple) and len(data[0]) else None
    done = 0
    for images, labels in batches(data, batch_size):
        if whole is not None:
            outputs = whole[done : done + len(labels)]
        else:
            outputs = file(images) if file is not None else run(path, images)  # type: ignore[misc]
        done += len(labels)
        yield images, labels, outputs


def _judge(
    path: Path, record: Verification, max_difference: float | None, max_accuracy_loss: float | None
) -> None:
    if max_difference is not None and record.max_difference > max_difference * max(record.logit_scale, 1e-12):
        raise ValueError(
            f"{path} is not the network it came from: a logit differs by {record.max_difference:.3g} where "
            f"the largest is {record.logit_scale:.3g} (accepted: {max_difference:g} of it); "
            f"{record.equal_predictions:.2%} of {record.images} predictions are equal"
        )
    loss = record.accuracy_network - record.accuracy_file
    if max_accuracy_loss is not None and loss > max_accuracy_loss:
        raise ValueError(
            f"{path} loses {loss:.2%} accuracy against its network ({record.accuracy_network:.2%} to "
            f"{record.accuracy_file:.2%} on {record.images} images); accepted: {max_accuracy_loss:.2%}"
        )


def batches(data: Data, batch_size: int) -> Iterator[tuple[Images, Labels]]:
    """Batches of float32 images and labels (int64, or numbers), from arrays or from batches of them."""
    if isinstance(data, tuple):
        images, labels = data
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images came with {len(labels)} labels")
        for start in range(0, len(images), batch_size):
            yield _arrays(images[start : start + batch_size], labels[start : start + batch_size])
        return
    for images, labels in data:
        yield _arrays(images, labels)


def _arrays(images: Any, labels: Any) -> tuple[Images, Labels]:
    known = np.asarray(labels)
    return (
        np.ascontiguousarray(np.asarray(images), dtype=np.float32),
        known if known.dtype.kind == "f" else known.astype(np.int64, copy=False),
    )


def _network_logits(network: nn.Module, images: Images) -> NDArray[np.float32]:
    device = next((part.device for part in network.parameters()), torch.device("cpu"))
    modes = [(part, part.training) for part in network.modules()]
    network.eval()
    try:
        with torch.inference_mode():
            logits: NDArray[np.float32] = network(torch.from_numpy(images).to(device)).float().cpu().numpy()
    finally:
        for part, training in modes:
            part.training = training
    return logits
