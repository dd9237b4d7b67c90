"""Criteria of pruning, by what they look at; importing this package makes them known by name."""

from __future__ import annotations

from compress.pruning.criteria.effects import ClassConditional, Trajectory
from compress.pruning.criteria.features import Activation, KeepFrequency
from compress.pruning.criteria.gates import LearnedGates
from compress.pruning.criteria.gradients import Hessian, taylor
from compress.pruning.criteria.weights import Dimap, Random, fpgm, l1, l2, lamp, magnitude

__all__ = [
    "Activation",
    "ClassConditional",
    "Dimap",
    "Hessian",
    "KeepFrequency",
    "LearnedGates",
    "Random",
    "Trajectory",
    "fpgm",
    "l1",
    "l2",
    "lamp",
    "magnitude",
    "taylor",
]
