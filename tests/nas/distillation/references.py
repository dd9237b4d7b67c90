"""The formulas of the methods, in float64 and loops, from the papers."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, idctn
from scipy.special import softmax

Floats = NDArray[np.float64]


def kd(student: Floats, teacher: Floats, temperature: float) -> float:
    total = 0.0
    for one, other in zip(student, teacher, strict=True):
        p, q = softmax(other / temperature), softmax(one / temperature)
        total += float(sum(a * np.log(a / b) for a, b in zip(p, q, strict=True)))
    return temperature**2 * total / len(student)


def dist(student: Floats, teacher: Floats, temperature: float, between: float, within: float) -> float:
    q, p = softmax(student / temperature, axis=1), softmax(teacher / temperature, axis=1)
    rows = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(q, p, strict=True)])
    columns = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(q.T, p.T, strict=True)])
    return temperature**2 * float(between * rows + within * columns)


def hints(student: Floats, teacher: Floats, weight: Floats, bias: Floats, standardized: bool) -> float:
    """Mean squared error of a 1x1 projection of (N, C, H, W)."""
    wanted = teacher.copy()
    if standardized:
        for channel in range(teacher.shape[1]):
            own = teacher[:, channel]
            wanted[:, channel] = (own - own.mean()) / own.std()
    errors = []
    n, _, height, width = student.shape
    for image, row, column in itertools.product(range(n), range(height), range(width)):
        given = weight @ student[image, :, row, column] + bias
        errors.append((given - wanted[image, :, row, column]) ** 2)
    return float(np.mean(errors))


def attention(student: Floats, teacher: Floats, power: float) -> float:
    total = 0.0
    for one, other in zip(student, teacher, strict=True):
        maps = []
        for feature in (one, other):
            places = np.zeros(feature.shape[1] * feature.shape[2])
            for channel in feature:
                places += np.abs(channel).ravel() ** power
            maps.append(places / np.sqrt((places**2).sum()))
        total += ((maps[0] - maps[1]) ** 2).sum()
    return float(total / len(student))


def _huber(error: float) -> float:
    return 0.5 * error**2 if abs(error) <= 1 else abs(error) - 0.5


def relational(student: Floats, teacher: Floats, distance: float, angle: float) -> float:
    """Of embeddings (N, D); means run over all pairs and triples, those of an image with itself too."""
    tables = []
    for points in (student, teacher):
        n = len(points)
        apart = [np.linalg.norm(points[i] - points[j]) for i in range(n) for j in range(n) if i != j]
        lengths = {(i, j): np.linalg.norm(points[i] - points[j]) for i in range(n) for j in range(n)}
        mean = np.mean(apart)
        cosines = {}
        for j, i, k in itertools.product(range(n), repeat=3):
            if i == j or k == j:
                cosines[i, j, k] = 0.0
                continue
            a, b = points[i] - points[j], points[k] - points[j]
            cosines[i, j, k] = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        tables.append(({pair: length / mean for pair, length in lengths.items()}, cosines))
    losses = [
        np.mean([_huber(tables[0][part][key] - tables[1][part][key]) for key in tables[0][part]])
        for part in (0, 1)
    ]
    return float(distance * losses[0] + angle * losses[1])


def views(student: Floats, teacher: Floats) -> tuple[float, float]:
    """ScaleKD's losses on the features as they are, and without the constant of their cosine transform."""
    found = []
    for frequency in (False, True):
        both = []
        for feature in (student, teacher):
            made = feature.copy()
            if frequency:
                for image, channel in itertools.product(range(len(made)), range(made.shape[1])):
                    spectrum = dctn(made[image, channel])
                    spectrum[0, 0] = 0
                    made[image, channel] = idctn(spectrum)
            both.append(made / np.sqrt((made**2).sum(1, keepdims=True)))
        found.append(float(((both[0] - both[1]) ** 2).sum() / len(student)))
    return found[0], found[1]
