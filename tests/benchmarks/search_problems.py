"""Generated tables with the structure of published benchmarks, for judging searchers without training.

None of them is fitted to a real table. What they share with real ones: accuracy that saturates with cost,
a long tail of bad networks, interactions between choices, some noise per arch, latency that is nearly
additive.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pandas as pd

from search_spaces.tabular import TabularSpace

OPS = ("none", "skip", "conv1", "conv3", "pool")


def _grid(values: dict[str, tuple]) -> pd.DataFrame:
    return pd.DataFrame(list(itertools.product(*values.values())), columns=list(values))


def _finish(
    frame: pd.DataFrame,
    name: str,
    quality: np.ndarray,
    latency: np.ndarray,
    rng: np.random.Generator,
    *,
    noise: float,
) -> TabularSpace:
    """Quality and latency, with noise, as a space; accuracy is a fraction."""
    quality = quality + noise * quality.std() * rng.standard_normal(len(frame))
    scores = {
        "accuracy": np.clip(quality, 0.1, 0.99),
        "latency_ms": latency * rng.lognormal(0, 0.02, len(frame)),
    }
    columns = list(frame.columns)
    return TabularSpace.from_table(
        frame.assign(**scores), choices=columns, objectives=["accuracy", "latency_ms"], name=name
    )


def cells(seed: int, *, edges: int = 6) -> TabularSpace:
    """Operations on the edges of a cell of four nodes (three where there are 3 edges): 5 to the edges."""
    rng = np.random.default_rng([seed, 1])
    nodes = 4 if edges == 6 else 3
    wires = [(a, b) for b in range(nodes) for a in range(b)]
    frame = _grid({f"edge{a}{b}": OPS for a, b in wires})
    codes = np.stack([frame[c].map(OPS.index).to_numpy() for c in frame], axis=1)
    power = np.array([0.0, 0.12, 0.55, 1.0, 0.2]) * rng.lognormal(0, 0.15, 5)
    signal = np.zeros((len(frame), nodes))
    convolved = np.zeros((len(frame), nodes))
    signal[:, 0] = 1.0
    weight = rng.uniform(0.6, 1.4, len(wires))
    for column, (a, b) in enumerate(wires):
        passes = (codes[:, column] != 0) * signal[:, a]
        signal[:, b] = np.maximum(signal[:, b], passes * np.where(codes[:, column] == 4, 0.9, 1.0))
        convolved[:, b] += (
            passes * weight[column] * (power[codes[:, column]] + 0.6 * np.tanh(convolved[:, a]))
        )
    depth = convolved[:, -1]
    skips = (codes == 1).sum(axis=1)
    accuracy = (
        0.94 - 0.35 * np.exp(-1.1 * depth) + 0.01 * np.minimum(skips, 1) - 0.012 * np.maximum(skips - 2, 0)
    )
    accuracy = np.where(signal[:, -1] > 0, accuracy, 0.1)
    milliseconds = np.array([0.0, 0.05, 0.9, 1.6, 0.5]) * rng.lognormal(0, 0.2, 5)
    latency = 3.0 + milliseconds[codes].sum(axis=1) + 0.4 * ((codes > 1).sum(axis=1) > 3)
    return _finish(frame, f"cells{seed}", accuracy, latency, rng, noise=0.02)


def widths(seed: int) -> TabularSpace:
    """Eight widths in each of five stages: 32,768 archs; a staircase of latency, balance matters."""
    rng = np.random.default_rng([seed, 2])
    options = tuple(range(8, 72, 8))
    frame = _grid({f"width{i}": options for i in range(5)})
    width = frame.to_numpy(dtype=float)
    gain = rng.dirichlet(np.full(5, 3.0))
    accuracy = 0.72 + 0.2 * (np.log(width / 8) / np.log(8)) @ gain
    accuracy -= 0.01 * (np.abs(np.diff(np.log2(width), axis=1)) * rng.uniform(0.3, 1.2, 4)).sum(axis=1)
    steps = np.ceil(width / 16) * 16
    pixels = np.array([64, 32, 16, 16, 8]) * rng.lognormal(0, 0.2, 5)
    latency = 1.0 + (steps[:, :-1] * steps[:, 1:]) @ (pixels[1:] / 16e3) + steps[:, 0] * pixels[0] / 2e3
    return _finish(frame, f"widths{seed}", accuracy, latency, rng, noise=0.04)


def mobile(seed: int) -> TabularSpace:
    """Depth, kernel and expansion of three stages and a resolution: 34,992 archs, mostly ordered."""
    rng = np.random.default_rng([seed, 3])
    options: dict[str, tuple] = {"resolution": (128, 160, 192)}
    for stage in range(3):
        options |= {f"depth{stage}": (2, 3, 4), f"kernel{stage}": (3, 5, 7), f"expand{stage}": (3, 4, 6)}
    frame = _grid(options).sample(frac=0.6, random_state=seed).reset_index(drop=True)
    pixels = (frame["resolution"].to_numpy() / 160.0) ** 2
    capacity, latency = np.zeros(len(frame)), np.full(len(frame), 2.0)
    for stage in range(3):
        depth, kernel, expand = (frame[f"{part}{stage}"].to_numpy() for part in ("depth", "kernel", "expand"))
        share = rng.uniform(0.5, 1.5)
        best_kernel = rng.choice([3.5, 5.0, 6.0])
        capacity += share * (np.log(depth) + 0.7 * np.log(expand) + 0.15 * np.log(depth) * np.log(expand))
        capacity -= share * 0.02 * (kernel - best_kernel) ** 2
        latency += pixels * depth * expand * (0.12 + 0.006 * kernel**2) * rng.lognormal(0, 0.25)
    accuracy = 0.65 + 0.05 * capacity + 0.06 * np.log(pixels) - 0.006 * np.maximum(capacity - 3, 0) ** 2
    return _finish(frame, f"mobile{seed}", accuracy, latency, rng, noise=0.06)


def rugged(seed: int) -> TabularSpace:
    """Twelve choices of two or three values whose effects interact in triples (Kauffman's NK): 31,104."""
    rng = np.random.default_rng([seed, 4])
    sizes = rng.permutation([2] * 7 + [3] * 5).tolist()
    frame = _grid({f"choice{i}": tuple("abc"[:n]) for i, n in enumerate(sizes)})
    codes = np.stack([frame[c].map("abc".index).to_numpy() for c in frame], axis=1)
    effect = np.zeros(len(frame))
    for index in range(len(sizes)):
        others = rng.choice(np.delete(np.arange(len(sizes)), index), 2, replace=False)
        table = rng.normal(size=(3, 3, 3)) * 0.6 + rng.normal(size=(3, 1, 1))
        effect += rng.uniform(0.3, 1.5) * table[codes[:, index], codes[:, others[0]], codes[:, others[1]]]
    latency = 2.0 + (rng.uniform(0.1, 1.0, (len(sizes), 3))[np.arange(len(sizes)), codes]).sum(axis=1)
    effect = (effect - effect.mean()) / effect.std() + 0.5 * (latency - latency.mean()) / latency.std()
    return _finish(frame, f"rugged{seed}", 0.8 + 0.04 * effect, latency, rng, noise=0.1)


PROBLEMS: dict[str, Callable[[int], TabularSpace]] = {
    "cells": cells,
    "widths": widths,
    "mobile": mobile,
    "rugged": rugged,
}
