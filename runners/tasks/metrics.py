"""Scores of answers beside the accuracy, each in [0, 1], higher is better."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_recall(predicted: Tensor, labels: Tensor) -> float:
    """Mean over the classes that occur of the share of their images that are recognized.

    Args:
        predicted: classes, int64 (N,).
        labels: right classes, int64 (N,).
    """
    right = (predicted == labels).double()
    return float(torch.stack([right[labels == one].mean() for one in labels.unique()]).mean())


def f1(predicted: Tensor, labels: Tensor) -> Tensor:
    """F1 of each column: 2 TP / (2 TP + FP + FN), 0 where nothing was right; float64 (columns,).

    Args:
        predicted: what is said to be there, bool (N, columns).
        labels: what is there, bool (N, columns).
    """
    hits = (predicted & labels).sum(0).double()
    return 2 * hits / (predicted.sum(0) + labels.sum(0)).clamp(min=1)


def average_precision(scores: Tensor, labels: Tensor) -> Tensor:
    """Average precision of each column, float64 (columns,).

    The precision at each threshold, weighed by the recall that it adds:
    "Introduction to Information Retrieval" (Manning et al., 2008), section 8.4. Equal scores are one
    threshold, so that the order of images does not count; NaN where nothing is there.

    Args:
        scores: outputs, higher for what is there, (N, columns).
        labels: what is there, bool (N, columns).
    """
    found = []
    for score, label in zip(scores.unbind(1), labels.unbind(1), strict=True):
        order = score.argsort(descending=True)
        hits = label[order].double().cumsum(0)
        last = _ends_of_ties(score[order])
        hits, seen = hits[last], last.double() + 1
        gained = torch.diff(hits, prepend=hits.new_zeros(1))
        found.append((gained * hits / seen).sum() / hits[-1])  # 0 / 0 where there are none
    return torch.stack(found)


def area_under_roc(scores: Tensor, labels: Tensor) -> float:
    """Chance that an image with the label has a higher score than one without; ties count half.

    "The meaning and use of the area under a receiver operating characteristic curve" (Hanley and McNeil,
    1982). One half where all or none have it.

    Args:
        scores: outputs, (N,).
        labels: whether it is there, bool (N,).
    """
    there, absent = scores[labels].double(), scores[~labels].double().sort().values
    if not len(there) or not len(absent):
        return 0.5
    below = torch.searchsorted(absent, there) + torch.searchsorted(absent, there, right=True)
    return float(below.double().mean()) / 2 / len(absent)


def _ends_of_ties(ordered: Tensor) -> Tensor:
    """Places of the last of each run of equal values."""
    changes = torch.diff(ordered) != 0
    return torch.cat([changes, changes.new_ones(1)]).nonzero().squeeze(1)
